"""Versions of one trained model whose class names say which version gave them: `v2:7` is a seven of version 2."""

from __future__ import annotations

from pathlib import Path

from convnet.registry import Registry


def named_versions(source: Path, folder: Path, count: int) -> Registry:
    """A registry with versions 1 to `count` of the source's stable model; 1 is stable."""
    original = Registry(source)
    card = original.card(original.resolve("stable") or 0)
    artefacts = {card.served: original.artefact(card.version, card.served)}
    made = Registry(folder)
    for _ in range(count):
        made.add(
            lambda version, checksums: card.model_copy(
                update={
                    "version": version,
                    "checksums": dict(checksums),
                    "classes": tuple(f"v{version}:{name}" for name in card.classes),
                }
            ),
            artefacts,
        )
    made.set_alias("stable", 1)
    return made
