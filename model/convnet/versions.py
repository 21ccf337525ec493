"""What people do with versions: promote, try as a canary, roll back, verify. Each is one change of the aliases, under their lock alone.

None waits for a training, and none touches a version's files: classifiers that are loading keep what they have.
"""

from __future__ import annotations

from dataclasses import dataclass

from convnet.errors import ClassesDiffer, RegistryError
from convnet.model_card import ModelCard
from convnet.registry import Aliases, Registry


@dataclass(frozen=True, slots=True)
class Verified:
    """How a version's files are.

    Attributes:
        version: which one.
        faults: what is wrong, a sentence each; empty when every checksum is right.
    """

    version: int
    faults: tuple[str, ...]


def promote(registry: Registry, version: int, *, new_classes: bool = False) -> Aliases:
    """Make a version stable; a canary or shadow of the same version ends with it.

    Raises:
        RegistryError: it is not there or damaged.
        ClassesDiffer: other classes than the stable version's, without `new_classes`.
    """
    card = _whole(registry, version)
    with registry.changing_aliases() as change:
        registry.resolve(version)
        aliases = registry.aliases()
        if not new_classes:
            _check_classes(registry, aliases, card, "promote it with --new-classes")
        return change(aliases.with_stable(version).model_copy(update=_ended_trials(aliases, version)))


def start_canary(registry: Registry, version: int, percent: int, *, new_classes: bool = False) -> Aliases:
    """Let a version classify a share of the images, 0-100 percent. Raises as `promote`."""
    card = _whole(registry, version)
    with registry.changing_aliases() as change:
        registry.resolve(version)
        aliases = registry.aliases()
        if aliases.stable == version:
            raise RegistryError(f"version {version} is stable already; a canary is another version")
        if not new_classes:
            _check_classes(registry, aliases, card, "start it with --new-classes")
        return change(aliases.model_copy(update={"canary": version, "canary_percent": percent}))


def end_canary(registry: Registry) -> Aliases:
    """Let the stable version classify everything again."""
    return registry.set_alias("canary", None)


def start_shadow(registry: Registry, version: int, *, new_classes: bool = False) -> Aliases:
    """Let a version predict beside the stable one, compared and never heard. Raises as `promote`."""
    card = _whole(registry, version)
    with registry.changing_aliases() as change:
        registry.resolve(version)
        aliases = registry.aliases()
        if aliases.stable == version:
            raise RegistryError(f"version {version} is stable already; a shadow is another version")
        if not new_classes:
            _check_classes(registry, aliases, card, "start it with --new-classes")
        return change(aliases.model_copy(update={"shadow": version}))


def end_shadow(registry: Registry) -> Aliases:
    """Compare no version with the stable one any more."""
    return registry.set_alias("shadow", None)


def rollback(registry: Registry) -> Aliases:
    """Make the version stable that was stable before; again, the one before that. A version that is damaged or gone is passed over.

    Raises:
        RegistryError: there is no such version.
    """
    with registry.changing_aliases() as change:
        aliases = registry.aliases()
        present = set(registry.versions())
        for index in range(len(aliases.previous) - 1, -1, -1):
            version = aliases.previous[index]
            if version in present and not verify(registry, version).faults:
                update = {"stable": version, "previous": aliases.previous[:index], **_ended_trials(aliases, version)}
                return change(aliases.model_copy(update=update))
        raise RegistryError(
            f"no earlier stable version is left in {registry.folder}; name the one you want: convnet-kafka models promote VERSION"
        )


def verify(registry: Registry, version: int) -> Verified:
    """Read every file of a version and compare it with its checksum."""
    try:
        card = registry.card(version)
    except RegistryError as error:
        return Verified(version, (str(error),))
    faults = []
    for name in card.checksums:
        try:
            registry.artefact(version, name)
        except RegistryError as error:
            faults.append(str(error))
    return Verified(version, tuple(faults))


def _ended_trials(aliases: Aliases, stable: int) -> dict[str, int | None]:
    """What ends when this version becomes stable: it needs no trial any more."""
    canary: dict[str, int | None] = {"canary": None, "canary_percent": 0} if aliases.canary == stable else {}
    return canary | ({"shadow": None} if aliases.shadow == stable else {})


def _whole(registry: Registry, version: int) -> ModelCard:
    """The card of a version whose files are proven whole; read before the lock is taken, as large files take their time."""
    registry.resolve(version)
    faults = verify(registry, version).faults
    if faults:
        raise RegistryError(faults[0])
    return registry.card(version)


def _check_classes(registry: Registry, aliases: Aliases, card: ModelCard, way: str) -> None:
    if aliases.stable is None or aliases.stable == card.version or aliases.stable not in registry.versions():
        return
    stable = registry.card(aliases.stable)
    if stable.classes != card.classes:
        raise ClassesDiffer(card.classes, stable.classes, stable.version, what=f"the classes of version {card.version}", way=way)
