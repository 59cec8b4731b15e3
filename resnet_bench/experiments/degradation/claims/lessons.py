"""The sentences of the tutorial that claims test, quoted and translated."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """A sentence of the tutorial: its section, its words, and English ones."""

    section: int
    original: str
    translation: str


TWENTY_BEATS_TEN = Lesson(
    1, "20层网络比10层好", "A network of 20 layers is better than one of 10."
)
FIFTY_IS_WORSE = Lesson(
    1,
    "50层网络反而比20层差了！",
    "A network of 50 layers turns out worse than one of 20!",
)
NOT_OVERFITTING = Lesson(1, "不是过拟合", "It is not overfitting.")
CANNOT_BE_TRAINED = Lesson(1, "根本训练不动", "It simply cannot be trained.")
GRADIENT_IS_SPENT = Lesson(
    1,
    "信息（梯度）传到底层已经没力气了",
    "The information (the gradient) has no strength left when it gets to the bottom.",
)
THOUSAND_LAYERS = Lesson(
    1, "100层甚至1000层都能训练！", "100 and even 1000 layers can be trained!"
)
ONE_MORE_X = Lesson(1, "就多了一个 +x ！", "There is just one +x more!")
X_PASSES = Lesson(
    1,
    "不管F(x)学没学到东西，x都能直接传过去",
    "Whether F(x) has learned something or not, x gets through.",
)
SHORTCUT_TO_OUTPUT = Lesson(
    2,
    '让输入可以"抄近路"到输出！',
    "It lets the input take a shortcut to the output!",
)
ZERO_PLUS_X = Lesson(3, "输出 = 0 + x = x", "Output = 0 + x = x.")
LEARNED_NOTHING = Lesson(
    3,
    "中间的层什么都没学到（输出≈0）",
    "The layers in between learned nothing (their output is about 0).",
)
NO_WORSE = Lesson(
    3,
    "至少不会比没加这些层更差",
    "At least no worse than without these added layers.",
)
NEVER_WORSE = Lesson(3, "永远不会变差！", "It never gets worse!")
WHY_HUNDRED = Lesson(
    3,
    "这就是为什么ResNet可以做到100+层",
    "This is why ResNet can reach more than 100 layers.",
)
ANY_SIZE = Lesson(
    4,
    "全局平均池化（不管图片多大，变成1×1）",
    "Global average pooling (however large the image, it becomes 1×1).",
)
LIKE_LENET = Lesson(4, "和LeNet的套路完全一样", "Exactly the same pattern as LeNet's.")
