version: str
cuda_architectures: str

def triangle_tile(number: int, tiles: int) -> tuple[int, int]: ...
def instruction_sets() -> list[str]: ...
def correlation_distance_cpu(
    a: int,
    a_dtype: str,
    rows: int,
    a_cols: int,
    a_row_stride: int,
    a_col_stride: int,
    b: int,
    b_dtype: str,
    b_cols: int,
    b_row_stride: int,
    b_col_stride: int,
    metric: str,
    sigma: float,
    threads: int,
    instruction_set: str,
) -> float: ...
def jpeg_roundtrip_cpu(
    images: int,
    out: int,
    count: int,
    height: int,
    width: int,
    channels: int,
    quality: int,
    quality_step: int,
    subsampling: str,
    threads: int,
    instruction_set: str,
) -> None: ...

# Only in builds with CUDA (cuda_architectures is not empty):
def correlation_distance_cuda_blocks(rows: int) -> int: ...
def correlation_distance_cuda(
    a: int,
    a_cols: int,
    b: int,
    b_cols: int,
    rows: int,
    wide: bool,
    inverse_bandwidth: float,
    partial: int,
    stream: int,
) -> None: ...
def jpeg_roundtrip_cuda(
    images: int,
    out: int,
    count: int,
    height: int,
    width: int,
    channels: int,
    quality: int,
    quality_step: int,
    subsampling: str,
    stream: int,
) -> None: ...
