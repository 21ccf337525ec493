"""Look at every file of class folders before an hour of training is spent on them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from convnet.folders import MIN_IMAGES_PER_CLASS, Side, side_of
from convnet.images import Header
from convnet.inspection import Inspected, Kind, inspect
from convnet.listing import Listing, Part, list_files, shown
from convnet.machine import processors
from convnet.parallel import in_threads
from convnet.progress import Progress

# A side shorter than this shows next to nothing; sets of such small pictures (digits of 8 x 8) are judged by their own median.
_TINY_PIXELS = 16
# A picture four times smaller than most will be blown up to a blur.
_TINY_SHARE = 0.25
# Landscape beside portrait photos (3:2 to 2:3) differ by 2.25; past this, stretching to the network's shape shows.
_ODD_ASPECT = 2.5
# When so many share one size or one kind of pixels, the others are worth a look.
_USUAL_SHARE = 0.9
# Past this the small classes are learned badly unless they are weighted.
_IMBALANCE = 3.0

_PLAIN = {"grey", "colour"}
# Of copies in several parts, the one in the first of these is used.
_KEPT = [Part.TEST, Part.VAL, Part.TRAIN, Part.WHOLE]

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one file."""

    kind: Kind
    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Files of one class that can be used, by what they are used for, and those that cannot."""

    name: str
    training: int
    held_out: int
    test: int
    unusable: int

    @property
    def usable(self) -> int:
        """Files that can be used."""
        return self.training + self.held_out + self.test


@dataclass(frozen=True, slots=True)
class Check:
    """What was found.

    Attributes:
        folder: what was looked at.
        files: how many.
        classes: counts, in the order of names.
        findings: sorted by kind, then name; a file may have several.
        imbalance: a sentence when class sizes differ much, else empty.
        cannot_train: why training would refuse the folder; empty when it would not.
        formats: how many files of each format, most first.
        modes: the same of the kinds of pixels.
        sizes: the same of (width, height).
        inspected: every file, for a contact sheet.
    """

    folder: Path
    files: int
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    imbalance: str
    cannot_train: str
    formats: tuple[tuple[str, int], ...]
    modes: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    inspected: tuple[Inspected, ...]

    @property
    def problems(self) -> int:
        """Findings that should be mended."""
        return sum(finding.kind.is_problem for finding in self.findings)


def check(folder: Path, progress: Progress) -> Check:
    """Read and decode every file of a folder.

    Raises:
        DatasetError: the folder is missing or holds no class folders.
    """
    listing = list_files(folder)
    progress.stage("checking files", len(listing.files))
    inspected: list[Inspected] = []
    for each in in_threads(inspect, listing.files, processors(), "check"):
        inspected.append(each)
        if len(inspected) % 64 == 0:
            progress.done(len(inspected))
    headers = [each.header for each in inspected if each.header is not None and each.fault is None]
    findings = [Finding(_listing_kind(reason), name, reason) for name, reason in listing.skipped]
    findings += [Finding(kind, shown(each.file.path, folder), detail) for each, kind, detail in _all(inspected, headers, listing)]
    classes = _counts(listing, inspected)
    order = list(Kind)
    return Check(
        folder=folder,
        files=len(listing.files),
        classes=classes,
        findings=tuple(sorted(findings, key=lambda finding: (order.index(finding.kind), finding.name))),
        imbalance=_imbalance(classes),
        cannot_train=_cannot_train(classes),
        formats=_most(Counter(header.format for header in headers)),
        modes=_most(Counter(_mode(header) for header in headers)),
        sizes=_most(Counter((header.width, header.height) for header in headers)),
        inspected=tuple(inspected),
    )


def _listing_kind(reason: str) -> Kind:
    return Kind.STRAY if reason == "not in a class folder" else Kind.UNREADABLE


def _all(inspected: Sequence[Inspected], headers: Sequence[Header], listing: Listing) -> Iterator[tuple[Inspected, Kind, str]]:
    for each in inspected:
        if each.fault is not None:
            yield each, *each.fault
        for remark in each.remarks:
            yield each, *remark
    yield from _repeated(inspected, listing)
    yield from _unusual(inspected, headers)


def _repeated(inspected: Sequence[Inspected], listing: Listing) -> Iterator[tuple[Inspected, Kind, str]]:
    """Files of equal content: under two classes, in two parts, or simply twice."""
    same: dict[bytes, list[Inspected]] = defaultdict(list)
    for each in inspected:
        if each.digest and each.fault is None:
            same[each.digest].append(each)
    for copies in same.values():
        if len({copy.file.label for copy in copies}) > 1:
            for each in copies:
                twin = next(copy for copy in copies if copy.file.label != each.file.label)
                yield each, Kind.TWO_CLASSES, f"the same picture as {shown(twin.file.path, listing.folder)}"
            continue
        copies.sort(key=lambda copy: _KEPT.index(copy.file.part))
        for each in copies[1:]:
            other = f"the same picture as {shown(copies[0].file.path, listing.folder)}"
            if each.file.part is copies[0].file.part:
                yield each, Kind.DUPLICATE, other
            else:
                yield each, Kind.TWO_PARTS, f"{other}, and not used here: it would flatter the figures"


def _unusual(inspected: Sequence[Inspected], headers: Sequence[Header]) -> Iterator[tuple[Inspected, Kind, str]]:
    """Sizes and kinds of pixels that differ from most of the folder's."""
    if not headers:
        return
    middle = median(min(header.width, header.height) for header in headers)
    tiny = max(min(_TINY_PIXELS, middle), middle * _TINY_SHARE)
    aspect = median(math.log(header.width / header.height) for header in headers)
    (size, same_size), (mode, same_mode) = (
        Counter((header.width, header.height) for header in headers).most_common(1)[0],
        Counter(_mode(header) for header in headers).most_common(1)[0],
    )
    one_size, one_mode = (same >= _USUAL_SHARE * len(headers) for same in (same_size, same_mode))
    for each in inspected:
        header = each.header
        if header is None or each.fault is not None:
            continue
        pixels = f"{header.width} x {header.height} pixels"
        if min(header.width, header.height) < tiny:
            yield each, Kind.TINY, pixels
        elif one_size and (header.width, header.height) != size:
            yield each, Kind.ODD_SIZE, f"{pixels}; most have {size[0]} x {size[1]}"
        elif abs(math.log(header.width / header.height) - aspect) > math.log(_ODD_ASPECT):
            yield each, Kind.ODD_SIZE, f"{pixels}; its shape differs much from most"
        if _mode(header) != mode and (one_mode or _mode(header) not in _PLAIN):
            yield each, Kind.ODD_MODE, f"{_mode(header)} ({header.mode}); most are {mode}"


def _mode(header: Header) -> str:
    """A kind of pixels in words."""
    if header.transparent:
        return "transparent"
    if header.mode.startswith("I"):
        return "16-bit"
    return {"L": "grey", "RGB": "colour", "P": "palette", "1": "black and white"}.get(header.mode, header.mode)


def _counts(listing: Listing, inspected: Sequence[Inspected]) -> tuple[ClassCount, ...]:
    parts = {file.part for file in listing.files}
    counts: Counter[tuple[int, Side | None]] = Counter(
        (each.file.label, side_of(each.file.part, each.digest, parts) if each.fault is None else None) for each in inspected
    )
    return tuple(
        ClassCount(name, counts[label, Side.TRAINING], counts[label, Side.HELD_OUT], counts[label, Side.TEST], unusable=counts[label, None])
        for label, name in enumerate(listing.classes)
    )


def _imbalance(classes: Sequence[ClassCount]) -> str:
    ordered = sorted((each for each in classes if each.usable), key=lambda each: each.usable)
    if not ordered or ordered[-1].usable <= _IMBALANCE * ordered[0].usable:
        return ""
    least, most = ordered[0], ordered[-1]
    return (
        f"{most.name} has {most.usable} pictures, {least.name} has {least.usable}: {most.usable / least.usable:.0f} times as many; "
        "add pictures to the small classes, or expect more mistakes there"
    )


def _cannot_train(classes: Sequence[ClassCount]) -> str:
    few = [f"{each.name} ({each.training + each.held_out})" for each in classes if each.training + each.held_out < MIN_IMAGES_PER_CLASS]
    if few:
        return f"too few readable pictures of {', '.join(few)}; every class needs at least {MIN_IMAGES_PER_CLASS}"
    untaught = [each.name for each in classes if not each.training]
    if untaught:
        return f"no picture of {', '.join(untaught)} falls on the training side of the split; add pictures"
    if not any(each.held_out for each in classes):
        return "no picture falls on the held-out side of the split, so accuracy could not be measured; add pictures"
    return ""


def _most(counts: Counter[_Key]) -> tuple[tuple[_Key, int], ...]:
    return tuple(counts.most_common())
