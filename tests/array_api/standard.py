"""The functions of the Python array API standard, version 2024.12, by section."""

API_VERSION = "2024.12"

# Besides the arrays, these take where (`device`) or whether anew (`copy`) memory is made.
_CREATION = """arange empty empty_like eye full full_like linspace ones ones_like zeros
    zeros_like"""
MEMORY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_CREATION.split(), ("device",)),
    "astype": ("copy", "device"),
    "reshape": ("copy",),
    **dict.fromkeys(("fftfreq", "rfftfreq"), ("device",)),
}

_NAMES = {
    "Creation": """arange asarray empty empty_like eye from_dlpack full full_like linspace
        meshgrid ones ones_like tril triu zeros zeros_like""",
    "Data types": "astype can_cast finfo iinfo isdtype result_type",
    "Element-wise": """abs acos acosh add asin asinh atan atan2 atanh bitwise_and
        bitwise_left_shift bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip conj
        copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot
        imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and
        logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
        positive pow real reciprocal remainder round sign signbit sin sinh square sqrt subtract tan
        tanh trunc""",
    "Indexing": "take take_along_axis",
    "Inspection": "__array_namespace_info__",
    "Linear algebra": "matmul matrix_transpose tensordot vecdot",
    "Manipulation": """broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims
        repeat reshape roll squeeze stack tile unstack""",
    "Searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "Sets": "unique_all unique_counts unique_inverse unique_values",
    "Sorting": "argsort sort",
    "Statistics": "cumulative_sum cumulative_prod max mean min prod std sum var",
    "Utilities": "all any diff",
    "linalg": """cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power
        matrix_rank matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace vecdot
        vector_norm""",
    "fft": """fft ifft fftn ifftn rfft irfft rfftn irfftn hfft ihfft fftfreq rfftfreq fftshift
        ifftshift""",
}
SECTIONS: dict[str, list[str]] = {section: names.split() for section, names in _NAMES.items()}
EXTENSIONS = ("linalg", "fft")

_DATA = "the shape of its result depends on data"
_COMPLEX = "complex numbers"
NOT_COVERED: dict[str, str] = {
    **dict.fromkeys("nonzero unique_all unique_counts unique_inverse unique_values".split(), _DATA),
    "imag": _COMPLEX,
    **{f"fft.{name}": _COMPLEX for name in SECTIONS["fft"] if not name.endswith(("freq", "shift"))},
}
"""Why a function is missing for good."""
