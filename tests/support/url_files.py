"""Files that name addresses wherever a format has a place for one: models, manifests, images, packs, reports."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save_file

from sac_fast import Fingerprint, ProbeSet, RecordedInputs
from sac_fast.io.container import save_container
from sac_fast.io.hashing import content_hash
from sac_fast.packs.make import make_pack
from sac_fast.report import write_report
from sac_fast.report.files import to_text, write_sums

from .hostile_onnx import _external
from .report_cases import sibling_case

#: Of a host that no name server knows.
URL = "http://sac-fast.invalid/x"
_HTML = f'<html><img src="{URL}"><script src="{URL}"></script></html>'.encode()
_XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!DOCTYPE a SYSTEM "{URL}"><a href="{URL}"/></x:xmpmeta>'


class _Download:
    """Unpickled it would fetch weights."""

    def __reduce__(self) -> tuple[Any, ...]:
        return torch.hub.load_state_dict_from_url, (URL,)


def write_models(folder: Path) -> None:
    """A folder to be scanned."""
    folder.mkdir()
    for number, location in enumerate((URL, "//sac-fast.invalid/share/w", f"file://{URL}", r"\\sac-fast.invalid\w")):
        _external(location)(folder / f"{number}.onnx")
    model: dict[str, Any] = {"path": URL, "architecture": "torch.hub:load", "output": "0"}
    kwargs = {"repo_or_dir": "pytorch/vision", "model": "resnet18", "weights": "DEFAULT"}
    rows = f'[[models]]\npath = "{URL}"\narchitecture = "torch.hub:load"\nkwargs = {_toml(kwargs)}\n'
    rows += "".join(f'[[models]]\npath = "w.safetensors"\narchitecture = "{spec}"\n' for spec in _SPECS)
    (folder / "zoo.toml").write_text(rows)
    (folder / "zoo.csv").write_text(f"path,architecture,kwargs\n{URL},torch.hub:load,\nw.safetensors,{_SPECS[0]},\n")
    (folder / "zoo.json").write_text(json.dumps({"kind": "sac_fast labelled zoo", "members": [model], "probes": URL}))
    (folder / "service.toml").write_text(f'url = "{URL}"\nanswer = "a"\n')
    save_file({"w": np.ones((2, 3), np.float32)}, folder / "w.safetensors", {"format": "pt", "source": URL})
    torch.save({"state_dict": {"w": torch.ones(2, 3)}, "url": URL, "config": {"pretrained": URL}}, folder / "w.pth")
    (folder / "code.pkl").write_bytes(pickle.dumps(_Download()))
    torch.save({"w": _Download()}, folder / "code.pth")
    with h5py.File(folder / "links.h5", "w") as file:
        file["outputs"] = h5py.ExternalLink(URL, "/outputs")
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"url": URL}})
    with zipfile.ZipFile(folder / "page.zip", "w") as archive:
        archive.writestr(URL, _HTML)
    (folder / "page.npy").write_bytes(_HTML)
    (folder / "pointer.safetensors").write_text(f"version {URL}\noid sha256:{'0' * 64}\nsize 12\n")
    for name, more in _CONFIGS.items():
        place = folder / name
        place.mkdir()
        (place / "config.json").write_text(json.dumps({"model_type": "resnet", **_TINY, "_name_or_path": URL, **more}))
        save_file({"w": np.ones((2, 3), np.float32)}, place / "model.safetensors", {"format": "pt"})
        index = {"metadata": {}, "weight_map": {"w": URL}}
        (place / "model.safetensors.index.json").write_text(json.dumps(index))
    np.save(folder / "sound.npy", np.random.default_rng(0).normal(size=(4, 3)))


_SPECS = ("timm:hf-hub:someone/model", "hf:someone/model", "timm:resnet18", "torch.hub:load_state_dict_from_url")
_TINY = {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"}
_CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "code": {"auto_map": {"AutoModel": f"{URL}--model.Net"}},
    "backbone": {"backbone": "microsoft/resnet-50", "use_pretrained_backbone": True},
    "timm": {"model_type": "timm_wrapper", "architecture": "hf-hub:someone/model"},
}


def _toml(values: dict[str, str]) -> str:
    return "{" + ", ".join(f'{key} = "{value}"' for key, value in values.items()) + "}"


def write_images(folder: Path) -> None:
    """A folder of images, some of which are something else."""
    folder.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", _XMP)
    texts.add_text("URL", URL)
    picture.save(folder / "0.png", pnginfo=texts)
    exif = Image.Exif()
    exif[270] = exif[0xA480] = URL
    picture.save(folder / "1.jpg", exif=exif, xmp=_XMP.encode(), icc_profile=URL.encode().ljust(128))
    picture.save(folder / "2.webp", exif=exif, xmp=_XMP.encode())
    picture.save(folder / "3.png")
    iptc = b"\x1c\x02\x78" + len(URL).to_bytes(2, "big") + URL.encode() + b"\x1c\x08\x0a" + bytes(2)
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n({URL}) (r) file\n".encode()
    svg = f'<svg xmlns:xlink="{URL}"><image xlink:href="{URL}"/></svg>'.encode()
    for number, content in enumerate((_HTML, _XMP.encode(), iptc, postscript, svg, URL.encode())):
        (folder / f"wrong-{number}.png").write_bytes(content)


def write_rest(folder: Path) -> str:
    """Probes, inputs, fingerprints, a pack (its hash is given back) and a report in a folder."""
    probes = ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8), name=URL)
    probes.save(folder / "probes")
    images = {"images": probes.images}
    source = {"type": "folder", "name": URL, "images": [{"name": URL, "sha256": None}] * 4}
    about = {"content_hash": content_hash(images), "provenance": {"source": source, "augmentation": []}}
    save_container(folder / "remade", "probes", images, about)
    RecordedInputs({URL: np.ones((4, 3))}, provenance={"source": {"type": URL}}).save(folder / "inputs")
    prints = []
    for number in range(4):
        outputs = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))
        said = {
            "name": f"{URL}/{number}",
            "probe_hash": probes.content_hash,
            "kind": "same-data",
            "service": {"url": URL},
        }
        said |= {"file": {"name": URL, "repository": URL, "revision": URL}, "$schema": URL, "$ref": URL}
        prints.append(Fingerprint(outputs, said))
        prints[-1].save(folder / f"print{number}.safetensors")
    hash = make_pack(prints[2:], probes, probes_at=URL, note=URL).save(folder / "pack")
    write_report(sibling_case(folder / "case", names=(URL, "honest")), pdf=False)
    shutil.copytree(folder / "case", folder / "changed")
    for name in ("verdicts.json", "report.json", "protocol.json"):
        file = folder / "changed" / name
        stated = json.loads(file.read_text()) if file.exists() else {"protocol": {}}
        file.write_text(to_text({"$schema": URL, "$id": URL, "$ref": URL, **stated}))
    with (folder / "changed" / "report.html").open("ab") as page:
        page.write(_HTML)
    files = [file for file in (folder / "changed").rglob("*") if file.is_file() and file.name != "SHA256SUMS"]
    write_sums(folder / "changed", files)
    return hash
