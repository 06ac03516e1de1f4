"""Operators beyond ONNX's own that onnxruntime has built in, and that its tools write; all others are custom code.

Source: docs/ContribOperators.md of onnxruntime; onnxruntime.quantization and the graph optimisers for what they write.
Left out are operators that load files, run code or search with graphs of their own.
"""

from __future__ import annotations

_QUANTISED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "QAttention"),
    *("QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat", "QLinearConv"),
    *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean", "QLinearSigmoid"),
    *("QLinearSoftmax", "QLinearWhere", "MatMulInteger16", "MatMulIntegerToFloat", "MulInteger", "ReduceSumInteger"),
    *("NhwcMaxPool", "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized", "ConvIntegerToFloat"),
}
_FUSED = {
    *("Attention", "BiasAdd", "BiasGelu", "BiasSplitGelu", "BiasSoftmax", "EmbedLayerNormalization", "FastGelu"),
    *("FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "Gelu", "GridSample", "GroupNorm", "Inverse"),
    *("MultiHeadAttention", "NhwcConv", "NhwcFusedConv", "Pad", "QuickGelu", "RotaryEmbedding", "SkipGroupNorm"),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "TransposeMatMul", "Trilu", "Unique"),
}
_BLOCKED = {
    *("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReorderInput", "ReorderOutput"),
    "Upsample",
}
#: Operators by their domain; ONNX's own domains are not listed.
BUILT_IN = {"com.microsoft": _QUANTISED | _FUSED, "com.microsoft.nchwc": _BLOCKED}
