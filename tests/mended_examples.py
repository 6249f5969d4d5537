"""Graphs on which the coded rules about joined parts, products, probabilities and means fire."""

MENDED: dict[str, list[str]] = {
    "log(concat(x, y)) -> concat(log(x), log(y))": [
        """graph @g(%x: f32[B,1], %y: f32[B,1]) {
          %0 = exp %x : f32[B,1]
          %1 = exp %y : f32[B,1]
          %2 = concat %0, %1 {axis=1} : f32[B,2]
          %3 = log %2 : f32[B,2]
          return %3
        }""",
    ],
    "log(prod(x, a)) -> where(less(prod(sign(x), a), 0), nan, sum(log(abs(x)), a))": [
        """graph @g(%x: f32[B,4]) {
          %0 = prod %x {axes=(1,)} : f32[B,1]
          %1 = log %0 : f32[B,1]
          return %1
        }""",
    ],
    "log1mexp(log_softmax(x, a)) -> log(sum of the others) - logsumexp(x, a)": [
        """graph @g(%x: f32[B,4]) {
          %0 = log_softmax %x {axis=1} : f32[B,4]
          %1 = log1mexp %0 : f32[B,4]
          return %1
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = log_softmax %x {axis=1} : f32[B,4]
          %1 = slice %0 {starts=(0, 2), sizes=(B, 1), steps=(1, 1)} : f32[B,1]
          %2 = reshape %1 {shape=(B,)} : f32[B]
          %3 = log1mexp %2 : f32[B]
          return %3
        }""",
    ],
    "square(sin(x / 2)) / sin(x) -> 0.5 * tan(x / 2)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.5} : f32[]
          %1 = multiply %0, %x : f32[B,4]
          %2 = sin %1 : f32[B,4]
          %3 = square %2 : f32[B,4]
          %4 = constant {value=2.0} : f32[]
          %5 = multiply %4, %3 : f32[B,4]
          %6 = sin %x : f32[B,4]
          %7 = divide %5, %6 : f32[B,4]
          return %7
        }""",
    ],
    "2 * sigmoid(x) * (2 * sigmoid(-x)) -> tanh_slope(x / 2)": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=2.0} : f32[]
          %1 = sigmoid %x : f32[B,4]
          %2 = multiply %0, %1 : f32[B,4]
          %3 = negative %x : f32[B,4]
          %4 = sigmoid %3 : f32[B,4]
          %5 = multiply %0, %4 : f32[B,4]
          %6 = multiply %2, %5 : f32[B,4]
          return %6
        }""",
    ],
    "x + c - c -> x": [
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.75} : f32[]
          %1 = add %0, %x : f32[B,4]
          %2 = subtract %1, %0 : f32[B,4]
          return %2
        }""",
        """graph @g(%x: f32[B,4]) {
          %0 = constant {value=0.75} : f32[]
          %1 = subtract %x, %0 : f32[B,4]
          %2 = add %1, %0 : f32[B,4]
          return %2
        }""",
    ],
    "x - mean(x, a) -> x - mean(x, a) - mean(x - mean(x, a), a)": [
        """graph @g(%x: f32[B,4]) {
          %0 = sum %x {axes=(1,)} : f32[B,1]
          %1 = constant {value=4.0} : f32[]
          %2 = divide %0, %1 : f32[B,1]
          %3 = subtract %x, %2 : f32[B,4]
          return %3
        }""",
    ],
}
