"""The software bill of materials of a bundle: CycloneDX 1.6, by the project's own library."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from contracts.files import sha256

MEMBER = "sbom.cdx.json"


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str | None = None


class _Bundle(_Part, frozen=True, kw_only=True):
    components: tuple[_Part, ...] = ()


class _Metadata(msgspec.Struct, frozen=True, kw_only=True):
    component: _Bundle


class Materials(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read of one again: files of the bundle, and libraries."""

    bom_format: str
    spec_version: str
    metadata: _Metadata
    components: tuple[_Part, ...] = ()


def bill_of_materials(name: str, build_id: str, members: Mapping[str, bytes], libraries: Mapping[str, str]) -> bytes:
    """Every member of a bundle with its digest, and the libraries that made them with their versions.

    Without a serial number and a time, which the format leaves open: the same inputs give the same bytes.
    """
    bundle = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        version=build_id,
        bom_ref="bundle",
        components=[
            Component(
                type=ComponentType.FILE,
                name=member,
                bom_ref=f"member:{member}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256(data))],
                properties=[Property(name="phasewatch:bytes", value=str(len(data)))],
            )
            for member, data in sorted(members.items())
        ],
    )
    bom = Bom()
    bom.metadata.component = bundle
    for library, version in sorted(libraries.items()):
        made_with = Component(
            type=ComponentType.LIBRARY,
            name=library,
            version=version,
            bom_ref=f"library:{library}",
            purl=PackageURL(type="pypi", name=library, version=version),
        )
        bom.components.add(made_with)
    bom.register_dependency(bundle, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
