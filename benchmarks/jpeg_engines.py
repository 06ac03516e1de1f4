"""The engines that `bench_jpeg_roundtrip.py` times; a maker takes the threads and gives (version, batch → batch)."""

from __future__ import annotations

import importlib.metadata
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, features

import sac_fast

QUALITY = 25
Batch = np.ndarray
Engine = Callable[[Any], Any]
Maker = Callable[[int], tuple[str, Engine]]


def each_image(roundtrip: Callable[[np.ndarray], np.ndarray], threads: int) -> Engine:
    if threads == 1:
        return lambda images: np.stack([roundtrip(image) for image in images])
    pool = ThreadPoolExecutor(threads)
    return lambda images: np.stack(list(pool.map(roundtrip, images, chunksize=max(1, len(images) // threads // 4))))


def make_pillow(threads: int) -> tuple[str, Engine]:
    def roundtrip(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
        return np.asarray(Image.open(file))

    return f"{PIL.__version__} (libjpeg-turbo {features.version_feature('libjpeg_turbo')})", each_image(
        roundtrip, threads
    )


def make_opencv(threads: int) -> tuple[str, Engine]:
    import cv2

    cv2.setNumThreads(1)
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]

    def roundtrip(image: np.ndarray) -> np.ndarray:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])[1]
        return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    return cv2.__version__, each_image(roundtrip, threads)


def make_turbojpeg(threads: int) -> tuple[str, Engine]:
    import turbojpeg

    codec = turbojpeg.TurboJPEG()
    rgb, accurate = turbojpeg.TJPF_RGB, turbojpeg.TJFLAG_ACCURATEDCT

    def roundtrip(image: np.ndarray) -> np.ndarray:
        file = codec.encode(image, QUALITY, rgb, turbojpeg.TJSAMP_420, accurate)
        return codec.decode(file, rgb, flags=accurate)

    return importlib.metadata.version("PyTurboJPEG"), each_image(roundtrip, threads)


def make_simplejpeg(threads: int) -> tuple[str, Engine]:
    import simplejpeg

    def roundtrip(image: np.ndarray) -> np.ndarray:
        return simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(image, QUALITY, "RGB", "420", fastdct=False))

    return importlib.metadata.version("simplejpeg"), each_image(roundtrip, threads)


def make_torchcodec(threads: int) -> tuple[str, Engine]:
    from torchcodec.decoders import decode_jpeg
    from torchcodec.encoders import JpegEncoder

    def roundtrip(image: np.ndarray) -> np.ndarray:
        file = JpegEncoder(torch.from_numpy(image).permute(2, 0, 1).contiguous()).to_tensor(quality=QUALITY)
        return decode_jpeg(file).permute(1, 2, 0).numpy()

    return importlib.metadata.version("torchcodec"), each_image(roundtrip, threads)


# The rest but DALI and ours take and give CUDA tensors; no GPU has run them yet (kornia ran on a CPU).


def make_kornia(threads: int) -> tuple[str, Engine]:
    from kornia.enhance import jpeg_codec_differentiable

    def run(images: Any) -> torch.Tensor:
        torch.set_num_threads(threads)
        pixels = torch.as_tensor(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        with torch.inference_mode():
            coded = jpeg_codec_differentiable(pixels, torch.tensor([float(QUALITY)], device=pixels.device))
        return finished((coded * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))

    return importlib.metadata.version("kornia"), run


def make_torchcodec_gpu(threads: int) -> tuple[str, Engine]:
    from torchcodec.decoders import decode_jpeg
    from torchcodec.encoders import JpegEncoder

    def run(images: torch.Tensor) -> torch.Tensor:
        planes = images.permute(0, 3, 1, 2).contiguous()
        files = [JpegEncoder(image).to_tensor(quality=QUALITY).cpu() for image in planes]
        return finished(torch.stack(decode_jpeg(files, device="cuda")).permute(0, 2, 3, 1))

    return importlib.metadata.version("torchcodec"), run


def make_torchvision_gpu(threads: int) -> tuple[str, Engine]:
    from torchvision.io import decode_jpeg, encode_jpeg

    def run(images: torch.Tensor) -> torch.Tensor:
        files = encode_jpeg(list(images.permute(0, 3, 1, 2).contiguous()), QUALITY)
        return finished(torch.stack(decode_jpeg([file.cpu() for file in files], device="cuda")).permute(0, 2, 3, 1))

    return importlib.metadata.version("torchvision"), run


def make_nvimagecodec(threads: int) -> tuple[str, Engine]:
    from nvidia import nvimgcodec as codec

    encoder = codec.Encoder(device_id=0, max_num_cpu_threads=threads)
    decoder = codec.Decoder(device_id=0, max_num_cpu_threads=threads)
    how = codec.EncodeParams(
        quality_type=codec.QualityType.QUALITY,
        quality_value=QUALITY,
        color_spec=codec.ColorSpec.SYCC,
        chroma_subsampling=codec.ChromaSubsampling.CSS_420,
    )

    def run(images: torch.Tensor) -> torch.Tensor:
        files = encoder.encode([codec.as_image(image) for image in images], "jpeg", params=how)
        return finished(torch.stack([torch.from_dlpack(image) for image in decoder.decode(files)]))

    return codec.__version__, run


def finished(result: torch.Tensor) -> torch.Tensor:
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


def make_dali(device: str) -> Maker:
    def make(threads: int) -> tuple[str, Engine]:
        import nvidia.dali as dali

        pipelines: dict[int, Any] = {}

        def pipeline(count: int) -> Any:
            pipe = dali.Pipeline(count, threads, 0 if device == "gpu" else None, prefetch_queue_depth=1)
            with pipe:
                images = dali.fn.external_source(name="images", device=device, layout="HWC", no_copy=True)
                pipe.set_outputs(dali.fn.jpeg_compression_distortion(images, quality=QUALITY))
            pipe.build()
            return pipe

        def run(images: Batch) -> Batch:
            pipe = pipelines.get(len(images)) or pipelines.setdefault(len(images), pipeline(len(images)))
            pipe.feed_input("images", images)
            (result,) = pipe.run()
            return result.as_tensor() if device == "gpu" else result.as_array()

        return dali.__version__, run

    return make


def make_native(backend: str, instruction_set: str = "") -> Maker:
    def make(threads: int) -> tuple[str, Engine]:
        def run(images: Any) -> torch.Tensor:
            os.environ["SAC_FAST_NUM_THREADS"] = str(threads)
            if instruction_set:
                os.environ["SAC_FAST_INSTRUCTION_SET"] = instruction_set
            return finished(sac_fast.jpeg_roundtrip(images, QUALITY, backend=backend))

        return importlib.metadata.version("sac_fast") if installed("sac_fast") else "source", run

    return make


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


#: These take CUDA tensors.
ON_GPU = {
    "sac_fast cuda": make_native("cuda"),
    "nvImageCodec": make_nvimagecodec,
    "TorchCodec GPU": make_torchcodec_gpu,
    "torchvision GPU": make_torchvision_gpu,
    "kornia GPU": make_kornia,
}


def engines(pillow_only: bool = False) -> dict[str, Maker]:
    """Every engine that this machine can have, by name; making one may still raise ImportError."""
    has = sac_fast.capabilities()
    name = "pillow-simd" if installed("pillow-simd") else "Pillow"
    table: dict[str, Maker] = {name: make_pillow}
    if pillow_only:
        return table
    table |= {f"sac_fast {s}": make_native("cpu", s) for s in has["instruction_sets"]}
    table |= {"OpenCV": make_opencv, "PyTurboJPEG": make_turbojpeg, "simplejpeg": make_simplejpeg}
    table |= {"TorchCodec": make_torchcodec, "DALI CPU": make_dali("cpu")}
    if torch.cuda.is_available():
        table |= {**ON_GPU, "DALI GPU": make_dali("gpu")}
    return table
