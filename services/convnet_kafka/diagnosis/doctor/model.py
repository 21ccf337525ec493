"""The model registry: readable, with a stable version that is whole and that can be loaded; and whether others were told of it.

The only check that uses the model's code, and only where it is installed.
"""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING

from convnet_kafka.control import AliasesRecord, ControlState
from convnet_kafka.diagnosis.doctor.findings import Findings, fail, skip, warn, well
from convnet_kafka.diagnosis.doctor.installation import Installation
from convnet_kafka.kafka.scan import bounds, scan

if TYPE_CHECKING:
    from convnet.registry import Aliases, Registry
    from convnet_kafka.settings import ClassifierSettings


def registry(place: Installation) -> Findings:
    """There is a stable model, all its files are whole, and the settings fit it."""
    settings = place.classifier
    if settings is None:
        yield skip("no classifier is set up here: look in a classifier's pod, or give --models")
        return
    if find_spec("convnet") is None or find_spec("numpy") is None:
        yield skip("the model's code is not installed here (extra 'classifier')")
        return
    from convnet.errors import ConvnetError  # noqa: PLC0415 - a server has no model's code
    from convnet.registry import Registry  # noqa: PLC0415

    models = Registry(settings.models)
    try:
        versions, aliases = models.versions(), models.aliases()
    except ConvnetError as error:
        yield fail(str(error), "classifiers go on with the model they have, and a new one cannot start")
        return
    if not settings.models.is_dir():
        yield fail(f"the models folder {settings.models} is not there", "mount the volume of the models, or set CONVNET_CLASSIFIER_MODELS")
        return
    if aliases.stable is None:
        held = f"it holds versions {', '.join(map(str, versions))}" if versions else "it holds none"
        yield fail(
            f"no model is stable in {settings.models}; {held}",
            "'convnet-kafka models promote VERSION' makes one stable" if versions else "'convnet-kafka train FOLDER' makes one",
        )
    yield from _roles(models, aliases, settings)


def _roles(models: Registry, aliases: Aliases, settings: ClassifierSettings) -> Findings:
    from convnet.errors import ConvnetError  # noqa: PLC0415 - a server has no model's code

    for role in ("stable", "canary", "shadow"):
        version = getattr(aliases, role)
        if version is None:
            continue
        try:
            models.resolve(version)
            card = models.card(version)
            for name in sorted({card.served, *card.checksums}):
                models.artefact(version, name)
        except ConvnetError as error:
            verdict = fail if role == "stable" else warn
            yield verdict(
                f"the {role} model, version {version}, cannot be used: {error}", f"set {role} to a sound version: 'convnet-kafka models'"
            )
            continue
        yield well(f"{role} is version {version}: {len(card.classes)} classes, all {len(card.checksums)} files whole")
        strange = sorted(settings.thresholds.keys() - {*card.classes, "*"})
        if strange:
            yield fail(
                f"CONVNET_CLASSIFIER_THRESHOLDS name classes that version {version} ({role}) does not have: {', '.join(strange)}",
                "it cannot be used so: name its classes, or `*` for all others",
            )


def told(place: Installation) -> Findings:
    """Servers know of the models: the control topic says what the registry holds."""
    state = ControlState()
    topic = place.topology.control
    with closing(scan(place.reading(), topic, bounds(place.reading(), topic))) as messages:
        for message in messages:
            state.apply(message.headers(), message.key(), message.value())
    known = state.aliases
    if known is None or known.stable is None:
        yield warn(
            "no classifier has told yet which model is stable: GET /v1/models names none",
            "start a classifier that has a model; it tells within seconds",
        )
        return
    ours = _ours(place)
    if ours is not None and ours != known:
        yield warn(
            f"the control topic says stable {known.stable}, canary {known.canary}, shadow {known.shadow}; the registry here says stable "
            f"{ours.stable}, canary {ours.canary}, shadow {ours.shadow}",
            "is this the volume that the classifiers read? One that runs tells a change within seconds",
        )
        return
    versions = ", ".join(map(str, sorted(state.models))) or "none"
    yield well(f"servers know of model versions {versions}; stable is {known.stable}. Cancelled jobs remembered: {len(state.cancelled)}")


def _ours(place: Installation) -> AliasesRecord | None:
    if place.classifier is None or find_spec("convnet") is None or find_spec("numpy") is None:
        return None
    from convnet.errors import ConvnetError  # noqa: PLC0415 - a server has no model's code
    from convnet.registry import Registry  # noqa: PLC0415

    models = Registry(place.classifier.models)
    try:
        if not models.versions():
            return None
        aliases = models.aliases()
    except ConvnetError:
        return None  # told by the check of the registry
    return AliasesRecord(aliases.stable, aliases.canary, aliases.canary_percent if aliases.canary else 0, aliases.shadow)
