"""The Dockerfiles: what every image has, and that the two files share what they say they share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {name: (ROOT / name).read_text() for name in ("Dockerfile.server", "Dockerfile.classifier")}
IMAGES = {"server": "Dockerfile.server", "client": "Dockerfile.server", "broker": "Dockerfile.server"}
IMAGES |= {"classifier": "Dockerfile.classifier", "trainer": "Dockerfile.classifier"}


def stage(file: str, name: str) -> str:
    """The instructions of one stage, without comments."""
    match = re.search(rf"(?ms)^(FROM \S+ AS {name}\n.*?)(?=^FROM |\Z)", FILES[file])
    assert match, f"{file} has no stage {name}"
    return re.sub(r"(?m)^#.*\n", "", match.group(1)).strip()


@pytest.mark.parametrize("name", ["tools", "code", "runtime"])
def test_stages_of_both_files_are_the_same_so_that_layers_are_shared(name: str) -> None:
    assert stage("Dockerfile.server", name) == stage("Dockerfile.classifier", name)


@pytest.mark.parametrize(("image", "file"), IMAGES.items())
def test_an_image_runs_as_nobody_special_and_ends_its_stage_with_its_labels(image: str, file: str) -> None:
    text, parent = stage(file, image), stage(file, image).split()[1]
    users = re.findall(
        r"(?m)^USER (\S+)", stage(file, "runtime") + "\n" + (stage(file, parent) if parent != "runtime" else "") + "\n" + text
    )
    assert users[-1] == "10001:10001"
    assert f'title="convnet-kafka {image}"' in text
    # An argument that changes with each commit makes every layer after it anew.
    assert not re.search(r"(?m)^(COPY|RUN) ", text[text.index("ARG VERSION") :])


@pytest.mark.parametrize(("image", "file"), IMAGES.items())
def test_packages_come_before_code_and_by_hash(image: str, file: str) -> None:
    copies = re.findall(r"(?m)^COPY --from=(\S+) ", stage(file, image))
    assert copies[-1] == "code"
    assert f"{image}-packages" in copies[:-1]
    packages = stage(file, f"{image}-packages")
    assert "--require-hashes --only-binary :all:" in packages
    (requirements,) = re.findall(r"(?m)^COPY (requirements/\S+) ", packages)
    assert (ROOT / requirements).is_file()


@pytest.mark.parametrize("file", FILES)
def test_a_plain_build_makes_the_image_that_the_file_is_named_for(file: str) -> None:
    assert re.findall(r"(?m)^FROM \S+ AS (\S+)", FILES[file])[-1] == file.removeprefix("Dockerfile.")
