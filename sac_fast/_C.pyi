from collections.abc import Sequence

# data, dtype, rows, cols, row stride, col stride
_View = tuple[int, str, int, int, int, int]
# rows, cols, square, parts, inverse bandwidth, kernel ("automatic", "warp" or "warpgroup")
_Shape = tuple[int, int, bool, int, float, str]
# packed rows, packed cols, norms of rows, norms of cols, k
_Packed = tuple[int, int, int, int, int]
# data, rows, bytes from one row to the next
_Rows = tuple[int, int, int]
# data, rows, bytes from one row to the next, bytes of a row
_Part = tuple[int, int, int, int]

version: str
cuda_architectures: str

def triangle_tile(number: int, tiles: int) -> tuple[int, int]: ...
def instruction_sets() -> list[str]: ...
def correlation_distance_cpu(
    a: _View, b: _View, metric: str, sigma: float, threads: int, instruction_set: str
) -> float: ...
def correlation_distance_weighted_cpu(
    a: _View,
    b: _View,
    weights: int,
    replicates: int,
    metric: str,
    sigma: float,
    threads: int,
    instruction_set: str,
    distances: int,
) -> None: ...
def correlation_distance_backward_cpu(
    a: _View,
    b: _View,
    metric: str,
    sigma: float,
    factor: float,
    threads: int,
    instruction_set: str,
    grad_a: int,
    grad_b: int,
) -> None: ...
def correlation_distance_weighted_backward_cpu(
    a: _View,
    b: _View,
    weights: int,
    replicates: int,
    metric: str,
    sigma: float,
    factors: int,
    threads: int,
    instruction_set: str,
    grad_a: int,
    grad_b: int,
) -> None: ...
def correlation_distances_cpu(
    source: _View,
    suspects: Sequence[_View],
    metric: str,
    sigma: float,
    threads: int,
    instruction_set: str,
    distances: int,
) -> None: ...
def pairwise_correlation_distances_cpu(
    models: Sequence[_View],
    metric: str,
    sigma: float,
    wide: bool,
    threads: int,
    instruction_set: str,
    distances: int,
) -> None: ...
def correlation_vector_cpu(
    outputs: _View, metric: str, sigma: float, wide: bool, threads: int, instruction_set: str, vector: int
) -> None: ...
def nearest_models_cpu(
    models: Sequence[_View],
    queries: Sequence[_View],
    metric: str,
    sigma: float,
    top: int,
    candidates: int,
    threads: int,
    instruction_set: str,
    distances: int,
    indices: int,
) -> None: ...
def nearest_vectors_cpu(
    vectors: int,
    models: int,
    queries: int,
    asked: int,
    dtype: str,
    probes: int,
    top: int,
    candidates: int,
    threads: int,
    instruction_set: str,
    distances: int,
    indices: int,
) -> None: ...
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
    inverse_bandwidth: float,
    partial: int,
    stream: int,
) -> None: ...
def packed_bytes(rows: int, k: int, parts: int) -> int: ...
def pack_rows_cuda(
    outputs: _View,
    models: int,
    model_stride: int,
    centre: bool,
    parts: int,
    packed: int,
    squared_norms: int,
    first_row: int,
    bad_rows: int,
    stream: int,
) -> None: ...
def correlation_distances_tiles_blocks(shape: _Shape, count: int) -> int: ...
def correlation_distances_tiles(
    shape: _Shape, source: _Packed, suspects: _Packed, count: int, partial: int, stream: int
) -> None: ...
def correlation_matrix_tiles(
    shape: _Shape, models: _Packed, count: int, vector: bool, out: int, stream: int
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
def pairwise_correlation_distances_cuda(
    x: _Rows,
    y: _Rows,
    triangle: bool,
    dtype: str,
    sums: int,
    add: bool,
    distances: int,
    wide: bool,
    scale: float,
    stream: int,
) -> None: ...
def nearest_models_cuda(
    queries: _Rows,
    models: _Rows,
    dtype: str,
    top: int,
    first_query: int,
    first_model: int,
    exclude_self: bool,
    parts: int,
    lists: int,
    stream: int,
) -> None: ...
def nearest_models_cuda_symmetric(models: _Rows, dtype: str, top: int, lists: int, stream: int) -> None: ...
def candidate_distances_cpu(
    models: Sequence[_View],
    queries: Sequence[_View],
    metric: str,
    sigma: float,
    offsets: int,
    candidates: int,
    threads: int,
    instruction_set: str,
    distances: int,
) -> None: ...
def pack_bytes_cpu(
    models: Sequence[_View],
    metric: str,
    sigma: float,
    order: int,
    entries: int,
    head_bytes: int,
    head: int,
    head_stride: int,
    tail: int,
    tail_stride: int,
    threads: int,
    instruction_set: str,
) -> None: ...
def nearest_bytes_cpu(
    models: Sequence[_Part],
    queries: Sequence[_Part],
    first_query: int,
    top: int,
    threads: int,
    instruction_set: str,
    keys: int,
) -> None: ...
def rank_bytes_cpu(
    models: Sequence[_Part],
    queries: Sequence[_Part],
    candidates: int,
    each: int,
    top: int,
    threads: int,
    instruction_set: str,
    keys: int,
) -> None: ...
def within_bytes_cpu(
    models: Sequence[_Part],
    queries: Sequence[_Part],
    first: int,
    last: int,
    limit: int,
    threads: int,
    instruction_set: str,
) -> bytes: ...
