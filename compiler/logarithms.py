"""Rules about exponentials and logarithms: naive formulas become ones that neither overflow,
underflow nor cancel, whatever way they are spelled.

``log`` moves inwards: what products, quotients, powers, sums, maxima, choices and selections make
of exponentials and probabilities has a logarithm made of theirs (`logs`; see positive.py).  Sums of
exponentials become ops that centre them.  A quotient of two such sums is a sigmoid or a softmax,
or is centred by hand (exponentials.py).
"""

from __future__ import annotations

from .beyond_formulas import (
    difference_from_total,
    is_beside,
    is_even,
    is_fraction,
    is_plain,
    is_positive_number,
    is_tensor,
    log_of_number,
    log_of_parts,
    log_of_product,
    log_of_selection,
    log_of_the_others,
    signed_exponent,
    signed_number,
)
from .exponentials import IN_ONE, LOGARITHM, QUOTIENT, SHARE
from .rewrite import Rule
from .shares import SHARES
from .sigmoids import SIGMOID, SOFTMAX
from .terms import WEIGHTED, product_rule, sum_rule

# What a logarithm is of, from the outside inwards.
_INWARDS = (
    Rule(
        "log(number) -> number",
        "rules look for 0, not for log(1)",
        code=log_of_number,
        roots=("log",),
    ),
    Rule("log(view(exp(x))) -> view(x)", "exp overflows or underflows, x does neither"),
    Rule("log(view(sigmoid(x))) -> view(-softplus(-x))", "sigmoid underflows, log of it is -x"),
    Rule("log(view(softmax(x, a))) -> view(log_softmax(x, a))", "softmax underflows to 0"),
    Rule("log(view(sum(exp(x), a))) -> view(logsumexp(x, a))", "exp overflows"),
    Rule("log(view(exp(x) / y)) -> view(x - log(y))", "exp overflows; log y exists, being y > 0"),
    Rule("log(view(exp(x)) / y) -> view(x) - log(y)", "as above, selected before dividing"),
    Rule(
        "log(0.5 * erfc(x)) -> log_normal_cdf(-1.4142135623730951 * x)",
        "0.5 * erfc rounds to 1 for negative x",
    ),
    Rule("log(exp(x) * y) -> x + log(y)", "exp overflows; log y exists, being y > 0"),
    Rule("log(exp2(x)) -> 0.6931471805599453 * x", "exp2 overflows or underflows, x does neither"),
    Rule("log(cosh(x)) -> log_cosh(x)", "cosh overflows, and is 1 near 0"),
    Rule("log(tanh_slope(x)) -> -2 * log_cosh(x)", "1 - square(tanh(x)) underflows for large x"),
    Rule(
        "log(sigmoid(x) * sigmoid(-x)) -> -1.3862943611198906 - 2 * log_cosh(0.5 * x)",
        "both underflow; the derivative is a difference of what agrees near 0",
    ),
    Rule("log(sech(x)) -> -log_cosh(x)", "1 / cosh(x) underflows for large x"),
    Rule("log(1 + exp(x)) -> softplus(x)", "overflows for large x and loses x below -17"),
    Rule("log(exp(x) + exp(y)) -> logaddexp(x, y)", "exp overflows, or both underflow to log 0"),
    Rule("log(1 - x) -> log1mexp(log(x))", "x underflows, or 1 - x is 1 - 1", logs=("x",)),
    Rule(
        "log(-view(expm1(x))) -> view(log1mexp(x))",
        "expm1 rounds to -1, where the result is -exp(x)",
    ),
    Rule("log(expm1(softplus(x))) -> x", "the inverse of softplus: log 0 for negative x"),
    Rule(
        "log(abs(expm1(x))) -> where(less(0, x), x + log1mexp(-x), log1mexp(x))",
        "expm1 overflows, the result is x; below it rounds to -1, where the result is -exp(x)",
    ),
    Rule("log(expm1(x)) -> x + log1mexp(-x)", "expm1 overflows, the result is x"),
    Rule("log(exp_difference(x, y)) -> x + log1mexp(y - x)", "exp overflows"),
    Rule("log(sinh(x)) -> x + log1mexp(-2 * x) - 0.6931471805599453", "sinh overflows"),
    Rule("log(tanh(x)) -> log1mexp(-2 * x) - softplus(-2 * x)", "tanh rounds to 1"),
    Rule(
        "log(x + y) -> logaddexp(log(x), log(y))",
        "x and y may overflow",
        is_plain,
        logs=("x", "y"),
    ),
    Rule(
        "log(x - y) -> log(x) + log1mexp(log(y) - log(x))",
        "inf - inf, where only the quotient of x and y counts",
        logs=("x", "y"),
    ),
    Rule("log(x * y) -> log(x) + log(y)", "x overflows; log y exists, x being > 0", logs=("x",)),
    Rule("log(x / y) -> log(x) - log(y)", "x overflows; log y exists, x being > 0", logs=("x",)),
    Rule("log(x / y) -> log(x) - log(y)", "y overflows; log x exists, y being > 0", logs=("y",)),
    Rule(
        "log(x ** y) -> gated_multiply(y, log(x))",
        "the power overflows or underflows; a power of 0 is 1, whatever x is",
        logs=("x",),
    ),
    Rule("log(y ** x) -> x * log(y)", "the power overflows or underflows", is_positive_number),
    Rule("log(square(x)) -> 2 * log(x)", "the square overflows or underflows", logs=("x",)),
    Rule("log(rsqrt(x)) -> -0.5 * log(x)", "the logarithm of x has a better form", logs=("x",)),
    Rule("log(maximum(x, y)) -> maximum(log(x), log(y))", "log is monotonic", logs=("x", "y")),
    Rule("log(minimum(x, y)) -> minimum(log(x), log(y))", "log is monotonic", logs=("x", "y")),
    Rule("log(where(c, x, y)) -> where(c, log(x), log(y))", "as chosen", logs=("x",)),
    Rule("log(where(c, x, y)) -> where(c, log(x), log(y))", "as chosen", logs=("y",)),
    Rule("log(stop_gradient(x)) -> stop_gradient(log(x))", "log x has a better form", logs=("x",)),
    Rule("log(cast(x, d)) -> cast(log(x), d)", "x overflows in either dtype", logs=("x",)),
    Rule(
        "log(sum(x, a)) -> logsumexp(log(x), a)",
        "x overflows or underflows",
        is_plain,
        logs=("x",),
    ),
    Rule("log(prod(x, a)) -> sum(log(x), a)", "products overflow or underflow", logs=("x",)),
    Rule("log(max(x, a)) -> max(log(x), a)", "log is monotonic", logs=("x",)),
    Rule("log(min(x, a)) -> min(log(x), a)", "log is monotonic", logs=("x",)),
    Rule(
        "log(concat(x, y)) -> concat(log(x), log(y))",
        "as joined: each part has a better form",
        code=log_of_parts,
        title="log of concat",
        roots=("log",),
    ),
    Rule(
        "log(cumulative_sum(x, a)) -> cumulative_logsumexp(log(x), a)",
        "x overflows or underflows",
        logs=("x",),
    ),
    Rule(
        "log(cumulative_prod(x, a)) -> cumulative_sum(log(x), a)",
        "products overflow or underflow",
        logs=("x",),
    ),
    Rule("log1p(x) -> softplus(log(x))", "x overflows", logs=("x",)),
    Rule("log1p(-x) -> log1mexp(log(x))", "log(1 - x), where x has a logarithm", logs=("x",)),
    Rule(
        "log(view(x)) -> view(log(x))",
        "as selected: log x has a better form",
        code=log_of_selection,
        roots=("log",),
    ),
    Rule("log(normal_cdf(x)) -> log_normal_cdf(x)", "underflows to 0 below, rounds to 1 above"),
    Rule("log(y * sinh(x)) -> log(y) + log(sinh(x))", "sinh overflows", is_positive_number),
    Rule("log(erfc(x)) -> log_erfc(x)", "underflows to 0 for large x"),
    Rule("log2(x) -> 1.4426950408889634 * log(x)", "log x has a better form", logs=("x",)),
    Rule("log10(x) -> 0.4342944819032518 * log(x)", "log x has a better form", logs=("x",)),
)

_LOGARITHMS = (
    Rule("log(square(x)) -> 2 * log(abs(x))", "the square overflows, or underflows to log 0"),
    Rule("log(sqrt(x)) -> 0.5 * log(x)", "one op less"),
    Rule("log(1 / x) -> -log(x)", "1 / x overflows for x near 0"),
    Rule("log(-(1 / x)) -> -log(-x)", "1 / x overflows for x near 0"),
    Rule("log((1 + x) / (1 - x)) -> 2 * atanh(x)", "1 + x and 1 - x lose x near 0"),
    Rule("log((1 - x) / (1 + x)) -> -2 * atanh(x)", "1 + x and 1 - x lose x near 0"),
    Rule("log(1 / x - 1) -> -logit(x)", "1 / x overflows, and rounds to 1 near 1"),
    Rule("log(x / (1 - x)) -> logit(x)", "1 - x loses x near 0"),
    Rule(
        "log(x / (1 + x)) -> where(less(abs(x), 1), log(x) - log1p(x), -log1p(1 / x))",
        "x / (1 + x) rounds to 1 for large x",
    ),
    Rule(
        "log(quotient_of(x, 1 + x, -1)) -> "
        "where(less(abs(x), 1), log(x) - log1p(x), -log1p(1 / x))",
        "x / (1 + x) rounds to 1 for large x",
    ),
    Rule(
        "log((1 - x) * (1 + x)) -> "
        "where(less(abs(x), 0.5), log1p(-square(x)), log1p(x) + log1p(-x))",
        "1 + x and 1 - x lose x near 0",
    ),
    Rule(
        "log(-difference_of_squares(x, 1)) -> "
        "where(less(abs(x), 0.5), log1p(-square(x)), log1p(x) + log1p(-x))",
        "1 + x and 1 - x lose x near 0",
    ),
    Rule("log(hypot(1, x)) -> 0.5 * log1p_square(x)", "the length rounds to 1 for small x"),
    Rule("log(abs(1 + x)) -> where(less(-1, x), log1p(x), log(-1 - x))", "1 + x loses x near 0"),
    Rule("log(abs(1 - x)) -> where(less(x, 1), log1p(-x), log(x - 1))", "1 - x loses x near 0"),
    Rule("log(x ** y) -> y * log(abs(x))", "the power overflows or underflows", is_even),
    Rule("log((y + x) / (y - x)) -> 2 * atanh(x / y)", "y + x loses x near 0", is_positive_number),
    Rule("log((y - x) / (y + x)) -> -2 * atanh(x / y)", "y + x loses x near 0", is_positive_number),
    Rule("log(1 + x) - log(1 - x) -> 2 * atanh(x)", "1 + x and 1 - x lose x near 0"),
    Rule("log1p(x) - log1p(-x) -> 2 * atanh(x)", "one function for the difference of two"),
    Rule("log(1 + x) -> log1p(x)", "1 + x loses x near 0"),
    Rule("log(1 - x) -> log1p(-x)", "1 - x loses x near 0"),
    Rule("log2(1 + x) -> 1.4426950408889634 * log1p(x)", "1 + x loses x near 0"),
    Rule("log2(1 - x) -> 1.4426950408889634 * log1p(-x)", "1 - x loses x near 0"),
    Rule("log10(1 + x) -> 0.4342944819032518 * log1p(x)", "1 + x loses x near 0"),
    Rule("log10(1 - x) -> 0.4342944819032518 * log1p(-x)", "1 - x loses x near 0"),
    Rule(
        "log(prod(x, a)) -> where(less(prod(sign(x), a), 0), nan, sum(log(abs(x)), a))",
        "products overflow or underflow; the signs tell whether there is a logarithm",
        code=log_of_product,
        roots=("log",),
    ),
    Rule(
        "log(sum(square(x), a)) -> 2 * log(length(x, a))",
        "squares overflow or underflow",
    ),
    Rule(
        "log1mexp(log_softmax(x, a)) -> log(sum of the others) - logsumexp(x, a)",
        "the largest probability rounds to 1, and 1 - 1 has no logarithm",
        code=log_of_the_others,
        title="log of what is left",
        roots=("log1mexp",),
    ),
    Rule("log1p(square(x)) -> log1p_square(x)", "the square overflows, the result is 2 log x"),
    Rule("log1p(x * x) -> log1p_square(x)", "the square overflows, the result is 2 log x"),
    Rule(
        "log1p(y * square(x)) -> log1p_square(sqrt(y) * x)",
        "the square overflows, the result is 2 log x",
        is_positive_number,
    ),
    Rule(
        "log1p(y * (x * x)) -> log1p_square(sqrt(y) * x)",
        "the square overflows, the result is 2 log x",
        is_positive_number,
    ),
    Rule(
        "log1p(square(x) / y) -> log1p_square(x / sqrt(y))",
        "the square overflows, the result is 2 log x",
        is_positive_number,
    ),
    Rule(
        "log(where(c, x, 1 - y)) -> where(c, log(x), log(1 - y))",
        "1 - y loses y near 0, and its logarithm does not",
    ),
    Rule(
        "log(where(c, 1 - x, y)) -> where(c, log(1 - x), log(y))",
        "1 - x loses x near 0, and its logarithm does not",
    ),
    Rule(
        "log(x * y + (1 - x) * (1 - y)) -> where(less(x * y - (x - 1) * (1 - y), 0.5), "
        "log(x * y - (x - 1) * (1 - y)), log1p(-(x * (1 - y) + y * (1 - x))))",
        "1 - y loses y near 0, and its logarithm does not",
    ),
    Rule(
        "log(x ** y * (1 - x) ** z) -> gated_multiply(y, log(abs(x))) + "
        "gated_multiply(z, where(less(x, 1), log1p(-x), log(abs(1 - x)))) + "
        "log(sign(x) ** y * sign(1 - x) ** z)",
        "1 - x loses x near 0, and its logarithm does not; of negative numbers it stays nan",
    ),
    Rule(
        "sigmoid(x) * softplus(-x) + sigmoid(-x) * softplus(x) -> sigmoid_entropy(x)",
        "the derivative cancels",
    ),
    Rule("expm1(x) / x -> exprel(x)", "0 / 0 at 0; the derivative cancels near 0"),
    Rule("log1p(exp(x)) -> softplus(x)", "exp overflows for large x, the result is x"),
    Rule(
        "log1mexp(-exp(x)) -> where(less(x, 0), x + log(exprel(-exp(x))), "
        "xlog1py(1, -exp(-exp(x))))",
        "exp underflows where the result is x",
    ),
    Rule(
        "log(exprel(x)) -> "
        "where(less(x, 1), xlogy(1, exprel(minimum(x, 1))), x + log1mexp(-x) - log(x))",
        "exp overflows for large x",
    ),
    Rule("log1p(-sigmoid(x)) -> -softplus(x)", "log(1 - sigmoid(x)) is log(sigmoid(-x))"),
    Rule("log1mexp(-softplus(x)) -> -softplus(-x)", "1 - 1 for large -x; as above"),
    Rule("logaddexp(0, x) -> softplus(x)", "one op for what is one thing"),
)

# Two terms of a sum, wherever in it they stand.
_DIFFERENCES = (
    Rule(
        "logsumexp(x, a) - x[i] -> -log_softmax(x, a)[i]",
        "cancels less: x is centred first; the cross-entropy of the label i",
        code=difference_from_total,
        roots=("subtract",),
        title="log-softmax",
    ),
    Rule("x - softplus(x) -> -softplus(-x)", "x - x for large x, and inf - inf"),
    Rule("softplus(x) - x -> softplus(-x)", "x - x for large x, and inf - inf"),
    Rule("x + softplus(-x) -> softplus(x)", "x - x for large -x, and inf - inf"),
    Rule("softplus(x) - softplus(-x) -> x", "cancels, and x is at hand"),
    Rule("softplus(-x) - softplus(x) -> -x", "cancels, and x is at hand"),
    Rule("relu(x) + softplus(-abs(x)) -> softplus(x)", "one op, without a kink at 0"),
    Rule("maximum(x, 0) + softplus(-abs(x)) -> softplus(x)", "one op, without a kink at 0"),
    Rule("minimum(x, 0) - softplus(-abs(x)) -> -softplus(-x)", "one op, without a kink at 0"),
    Rule(
        "softplus(x) - x * y -> "
        "softplus(where(less(0, x), -x, x)) + x * where(less(0, x), 1 - y, -y)",
        "x - x for large x, where y is 1",
        is_tensor,
    ),
    Rule(
        "logsumexp(x, a) - sum(y * x, a) -> logsumexp(x - sum(y * x, a), a)",
        "cancels: the cross-entropy of labels y, which mostly choose one x",
    ),
    Rule(
        "logsumexp(x, a) - stop_gradient(y) -> logsumexp(x - stop_gradient(y), a)",
        "cancels, where y is the centre of another sum of exponentials",
        is_beside,
    ),
    Rule("logsumexp(-x, a) + x -> -log_softmax(-x, a)", "cancels less: x is centred first"),
    Rule("x - logaddexp(x, y) -> -softplus(y - x)", "x - x, where x is the larger"),
    Rule("logaddexp(x, y) - x -> softplus(y - x)", "x - x, where x is the larger"),
    Rule("x - logsumexp(x, a) -> log_softmax(x, a)", "cancels less: x is centred first"),
    Rule("logsumexp(x, a) - x -> -log_softmax(x, a)", "cancels less: x is centred first"),
    Rule("max(x, a) + logsumexp(x - max(x, a), a) -> logsumexp(x, a)", "logsumexp centres itself"),
    Rule(
        "stop_gradient(max(x, a)) + logsumexp(x - stop_gradient(max(x, a)), a) -> logsumexp(x, a)",
        "logsumexp centres itself",
    ),
)

# Two factors of a product, wherever in it they stand.
_FACTORS = (
    Rule("exp(x) / exp(y) -> exp(x - y)", "both may overflow where the quotient does not"),
    Rule("exp(x) * exp(y) -> exp(x + y)", "inf * 0, where the product is neither"),
    Rule(
        "exp(x) * centred_exp(y, z) -> centred_exp(x + (y - z), 0)",
        "inf * 0, as above",
    ),
    Rule("exp(x) * sigmoid(-x) -> sigmoid(x)", "inf * 0 for large x; the derivative of softplus"),
    Rule("exp(-x) * sigmoid(x) -> sigmoid(-x)", "inf * 0 for large -x"),
    Rule("exp(x) / expm1(x) -> -1 / expm1(-x)", "inf / inf for large x"),
    Rule("expm1(x) * sigmoid(-x) -> tanh(0.5 * x)", "inf * 0 for large x"),
    Rule("expm1(-x) * sigmoid(x) -> -tanh(0.5 * x)", "inf * 0 for large -x"),
    Rule("expm1(x) * exp(-x) -> -expm1(-x)", "inf * 0 for large x"),
    Rule("exp(x) / square(expm1(x)) -> 0.25 / square(sinh(0.5 * x))", "inf / inf for large x"),
    Rule("exp(x) * sigmoid(y) -> exp(x - softplus(-y))", "inf * 0 where the product is neither"),
    Rule("exp(x) / sum(exp(x), a) -> softmax(x, a)", "exp overflows; softmax centres x first"),
)

_EXPONENTIALS = (
    Rule(
        "centred_exp(x - stop_gradient(y), 0) -> centred_exp(x, stop_gradient(y))",
        "the difference would be rounded, which exp multiplies by its size",
    ),
    Rule("1 / exp(x) -> exp(-x)", "exp overflows; the derivative is 0 / 0"),
    Rule("exp(x) ** y -> exp(gated_multiply(x, y))", "exp overflows where the power does not"),
    Rule("square(exp(x)) -> exp(2 * x)", "one exponential is left"),
    Rule("sqrt(exp(x)) -> exp(0.5 * x)", "exp overflows where its root does not"),
    Rule("rsqrt(exp(x)) -> exp(-0.5 * x)", "exp overflows where its root does not"),
    Rule("sqrt(x) -> exp(0.5 * log(x))", "x overflows, or underflows to 0", logs=("x",)),
    Rule("rsqrt(x) -> exp(-0.5 * log(x))", "x overflows, or underflows to 0", logs=("x",)),
    Rule("x ** y -> exp(y * log(x))", "x overflows, or underflows to 0", is_fraction, logs=("x",)),
    Rule("exp(x) - 1 -> expm1(x)", "cancels near 0"),
    Rule("1 - exp(x) -> -expm1(x)", "cancels near 0"),
    Rule("y * exp(x) - y -> y * expm1(x)", "cancels near 0"),
    Rule("y - y * exp(x) -> -(y * expm1(x))", "cancels near 0"),
    Rule("y ** x - 1 -> expm1(x * log(y))", "cancels near 0", is_positive_number),
    Rule("1 - y ** x -> -expm1(x * log(y))", "cancels near 0", is_positive_number),
    Rule("expm1(x) / (1 + exp(x)) -> tanh(0.5 * x)", "inf / inf for large x"),
    Rule("1 - prod(x, a) -> -expm1(sum(log(x), a))", "1 - 1 where x is near 1", logs=("x",)),
    Rule("exp2(x) - 1 -> expm1(0.6931471805599453 * x)", "cancels near 0"),
    Rule("1 - exp2(x) -> -expm1(0.6931471805599453 * x)", "cancels near 0"),
    Rule("exp(x) - exp(-x) -> 2 * sinh(x)", "cancels near 0"),
    Rule("exp(x) - exp(y) -> exp_difference(x, y)", "cancels where x and y are near each other"),
    Rule("log(centred_exp(x, y)) -> x - y", "exp underflows"),
)

_NUMBERS = (
    Rule(
        "x - -c -> x + c",
        "one form of adding a number c, for rules to look for",
        code=signed_number,
        roots=("add", "subtract"),
        title="sign of a number",
    ),
    Rule(
        "exp(-(c * x)) -> exp(-c * x)",
        "one form of the exponent, for rules to look for",
        code=signed_exponent,
        roots=("exp",),
        title="sign of a number",
    ),
)

LOGARITHMS = (
    *_NUMBERS,
    *SIGMOID,
    *SOFTMAX,
    *_INWARDS,
    *_LOGARITHMS,
    *_DIFFERENCES,
    *_FACTORS,
    *_EXPONENTIALS,
    sum_rule(
        "x + y + z -> (x + z) + y",
        "terms that cancel, or whose exponentials overflow, meet wherever they stand",
        _DIFFERENCES,
        *("softplus", "logsumexp", "logaddexp", "log1mexp"),
    ),
    product_rule(
        "x * y * z -> (x * z) * y",
        "exponentials of which one overflows and one underflows meet wherever they stand",
        _FACTORS,
        *("exp", "centred_exp", "expm1", "sinh"),
    ),
    WEIGHTED,
    SHARE,
    *SHARES,
    IN_ONE,
    QUOTIENT,
    LOGARITHM,
)
