"""Every claim about degradation: a row each, with margins fixed before any run."""

from resnet_bench.experiments.degradation.claims import statistics as of
from resnet_bench.experiments.degradation.claims.evidence import (
    TRAINED_PERCENT,
    TRAINED_PERCENTS,
)
from resnet_bench.experiments.degradation.claims.judging import Claim, Lesson
from resnet_bench.experiments.degradation.claims.rules import (
    SAME_POINTS,
    Criterion,
    Relation,
    Statistic,
)
from resnet_bench.experiments.degradation.grid import FEW_IMAGES

ABOVE, BELOW, AT_MOST = Relation

#: Percentage points of training error that degradation must exceed: what CIFAR shows in
#: 64k steps, and more on data whose budgets are short.
DEGRADATION_POINTS = 1.0
SHORT_BUDGET_POINTS = {
    **dict.fromkeys(("digits", "digits-0-4", "digits-5-9"), 10.0),
    **dict.fromkeys(("photo-digits", "photo-digits-0-4", "photo-digits-5-9"), 10.0),
    "fashionmnist": 5.0,
}

#: Percentage points of training error that depth may cost the residual network, and
#: by which a gap of test over training error has grown.
RESIDUAL_POINTS = 1.0
GAP_POINTS = 1.0

#: Ratios of the gradient at the bottom over that at the top, at step 0: below the
#: first it vanishes, above the second it explodes, between them it is healthy.
VANISHING = 0.1
EXPLODING = 10.0

#: Training loss that further steps may cost the net with identity blocks added.
LOSS_MARGIN = 0.02

#: Points of error that deleting one block costs: residual at most, plain at least.
RESIDUAL_LESION = 2.0
PLAIN_LESION = 20.0

#: How many times as rough as the residual network's the plain network's loss must be;
#: two sets of lines through one network may differ by less than that.
ROUGHER = 2.0

#: Largest difference of logits between a net and its extension by identity layers.
SAME_LOGITS = 1e-4

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

DEGRADES = Criterion(of.excess, ABOVE, DEGRADATION_POINTS, SHORT_BUDGET_POINTS)


def trains(statistic: Statistic) -> Criterion:
    """Return the criterion that a network trains, which its error decides."""
    return Criterion(statistic, BELOW, TRAINED_PERCENT, TRAINED_PERCENTS)


def fails(statistic: Statistic) -> Criterion:
    """Return the criterion that a network does not train."""
    return Criterion(statistic, ABOVE, TRAINED_PERCENT, TRAINED_PERCENTS)


#: In the order in which they are shown.
CLAIMS = (
    Claim(
        name="depth-residual-trains",
        study="depth",
        title="residual-{deep} beats plain-{deep}",
        sentence=(
            "After {steps} steps on {dataset}, residual-{deep} has trained with more "
            "of the seeds than plain-{deep}, which starts from the same weights: the "
            "shortcuts alone make the difference."
        ),
        refuted=(
            "After {steps} steps on {dataset}, plain-{deep} has trained with more "
            "of the seeds than residual-{deep}."
        ),
        explained=(
            "Judged for each N. A network has trained when its clean training error "
            "is below the margin."
        ),
        lesson=Lesson(1, "就多了一个 +x ！", "There is just one +x more!"),
        supporting="He et al. 2015, section 4.2 and Fig. 6",
        criteria=(trains(of.trained_apart),),
        cases=of.each_depth,
    ),
    Claim(
        name="depth-residual-keeps",
        study="depth",
        title="residual-{deep} is no worse",
        sentence=(
            "After {steps} steps on {dataset}, {deep} layers instead of {reference} "
            "raise the training error of the residual network by less than one point."
        ),
        refuted=(
            "After {steps} steps on {dataset}, {deep} layers instead of {reference} "
            "raise the training error of the residual network by more than one point."
        ),
        explained="Judged for each N. The claim also holds where both errors are 0.",
        lesson=Lesson(3, "永远不会变差！", "It never gets worse!"),
        supporting="He et al. 2015, section 4.2",
        contradicting="He et al. 2015, Table 6: 1202 layers test worse than 110",
        criteria=(Criterion(of.residual_growth, BELOW, RESIDUAL_POINTS),),
        cases=of.each_deep,
    ),
    Claim(
        name="depth-degradation",
        study="depth",
        title="only plain-{deep} degrades",
        sentence=(
            "After {steps} steps on {dataset}, {deep} layers instead of {reference} "
            "raise the training error clearly more in the plain network than in the "
            "residual one with the same initial weights."
        ),
        refuted=(
            "After {steps} steps on {dataset}, {deep} layers instead of {reference} "
            "do not raise the training error of the plain network as much more as "
            "claimed."
        ),
        explained=(
            "Judged for each N. Plain and residual network share their initial "
            "weights, so the shortcut is the only difference."
        ),
        lesson=Lesson(
            1,
            "50层网络反而比20层差了！",
            "A network of 50 layers turns out worse than one of 20!",
        ),
        supporting="He et al. 2015, section 4.2 and Fig. 6",
        criteria=(DEGRADES,),
        cases=of.each_deep,
    ),
    Claim(
        name="depth-helps-at-first",
        study="depth",
        title="plain-{deep} beats plain-{other}{data}",
        sentence=(
            "After {steps} steps on {dataset}, the plain network of {deep} layers has "
            "a lower training error than that of {other}."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the plain network of {deep} layers has "
            "a higher training error than that of {other}."
        ),
        explained=(
            "The shallowest plain network (8 layers by default) against the "
            "reference. Both fit the digits, so the verdict there is AT FLOOR; "
            "`standard` also judges it on the digits on photographs. In a short "
            "budget the deeper network may only be slower, which refutes the claim "
            "for that budget."
        ),
        lesson=Lesson(
            1, "20层网络比10层好", "A network of 20 layers is better than one of 10."
        ),
        supporting="Simonyan and Zisserman 2015, Table 3",
        criteria=(Criterion(of.shallow_excess, ABOVE, SAME_POINTS),),
        cases=of.shallowest,
    ),
    Claim(
        name="budget-untrainable",
        study="depth",
        title="{multiple}× steps: plain-{deep} fails",
        sentence=(
            "Even after {multiple} times {steps} steps on {dataset}, plain-{deep} has "
            "not trained: it cannot be trained in that budget, rather than being slow."
        ),
        refuted=(
            "After {multiple} times {steps} steps on {dataset}, plain-{deep} has "
            "trained: it can be trained, but slowly."
        ),
        explained="Judged after 4 times the steps in `standard`, 16 with `--budgets`.",
        lesson=CANNOT_BE_TRAINED,
        supporting="He et al. 2015, section 4.1, footnote on 3 times the iterations",
        contradicting="Xiao et al. 2018: 10,000 plain layers can be trained",
        criteria=(fails(of.plain_error()),),
        cases=of.each_budget,
    ),
    Claim(
        name="budget-shrinks",
        study="depth",
        title="{multiple}× steps: difference shrinks",
        sentence=(
            "With {multiple} times {steps} steps on {dataset}, the extra error that "
            "depth causes in plain-{deep} compared with residual-{deep} shrinks."
        ),
        refuted=(
            "With {multiple} times {steps} steps on {dataset}, the extra error that "
            "depth causes in plain-{deep} compared with residual-{deep} does not "
            "shrink."
        ),
        explained=(
            "Together with the claim above, this distinguishes a network that cannot "
            "be trained from one that trains slowly."
        ),
        lesson=CANNOT_BE_TRAINED,
        contradicting="He et al. 2015, section 4.1, footnote on 3 times the iterations",
        criteria=(Criterion(of.excess_shrinks, ABOVE, DEGRADATION_POINTS),),
        cases=of.each_budget,
    ),
    Claim(
        name="overfitting-absent",
        study="overfitting",
        title="plain-{deep} does not overfit",
        sentence=(
            "After {steps} steps on {dataset}, plain-{deep} is worse than "
            "plain-{reference} on the training set itself, and its gap between test "
            "and training error has not grown: this is not overfitting."
        ),
        refuted=(
            "After {steps} steps on {dataset}, plain-{deep} is no worse than "
            "plain-{reference} on the training set, or its gap between test and "
            "training error has grown: overfitting is not ruled out."
        ),
        explained=(
            "An overfitted network is good on its training set and bad on the test "
            "set. The test set is read once and is small in the built-in data, so its "
            "sampling error (95 %) must not reach the margin either."
        ),
        lesson=NOT_OVERFITTING,
        supporting="He et al. 2015, section 1 and Fig. 1",
        criteria=(
            Criterion(of.plain_growth, ABOVE, SAME_POINTS),
            Criterion(of.gap_growth, BELOW, GAP_POINTS),
        ),
        cases=of.deepest,
        control="overfitting-control",
    ),
    Claim(
        name="overfitting-control",
        study="overfitting",
        title=f"control: plain-{{deep}} overfits on {FEW_IMAGES}",
        sentence=(
            f"Positive control: trained on {FEW_IMAGES} images for {{steps}} steps, "
            "plain-{deep} does overfit, and the gap between test and training error "
            "shows it."
        ),
        refuted=(
            f"Positive control failed: even with {FEW_IMAGES} images there is no gap "
            "between test and training error, so this run cannot detect overfitting."
        ),
        explained=(
            "Judged on the shallowest plain network. If the control fails, this run "
            "could not have detected overfitting."
        ),
        lesson=NOT_OVERFITTING,
        supporting="Zhang et al. 2017, section 2: networks memorise small sets",
        criteria=(Criterion(of.few_images_gap_growth, ABOVE, GAP_POINTS),),
        cases=of.at_few_images,
    ),
    Claim(
        name="gradients-vanish",
        study="gradients",
        title="gradient vanishes in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm vanishes "
            "on its way down: at the bottom it is less than a tenth of that at the "
            "top."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm does not "
            "vanish on its way down."
        ),
        explained=(
            "The tutorial says that the gradient vanishes, the paper that it is "
            "healthy, theory that it explodes: three claims about one number. What "
            "else the study measures (other moments, residual networks, no batch "
            "norm, zero-gamma, signal to noise, shattering) is in gradients.csv and "
            "in the run file, without a verdict."
        ),
        lesson=GRADIENT_IS_SPENT,
        supporting="Glorot and Bengio 2010, section 4 (without batch norm)",
        contradicting="He et al. 2015, section 4.1; Yang et al. 2019",
        criteria=(Criterion(of.gradient_ratio, BELOW, VANISHING),),
        cases=of.deepest,
    ),
    Claim(
        name="gradients-explode",
        study="gradients",
        title="gradient explodes in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm explodes: "
            "at the bottom it is more than ten times that at the top."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm does not "
            "explode on its way down."
        ),
        lesson=GRADIENT_IS_SPENT,
        supporting="Yang et al. 2019: batch norm makes gradients explode at the start",
        contradicting="He et al. 2015, section 4.1",
        criteria=(Criterion(of.gradient_ratio, ABOVE, EXPLODING),),
        cases=of.deepest,
    ),
    Claim(
        name="gradients-healthy",
        study="gradients",
        title="gradient healthy in plain-{deep}",
        sentence=(
            "Before training, the gradient of plain-{deep} with batch norm is healthy: "
            "bottom and top differ by less than ten times, either way."
        ),
        refuted=(
            "Before training, the gradient of plain-{deep} with batch norm is not "
            "healthy: bottom and top differ by more than ten times."
        ),
        lesson=GRADIENT_IS_SPENT,
        supporting="He et al. 2015, section 4.1: healthy norms with batch norm",
        contradicting="Yang et al. 2019; Balduzzi et al. 2017",
        criteria=(Criterion(of.gradient_imbalance, BELOW, EXPLODING),),
        cases=of.deepest,
    ),
    Claim(
        name="identity-exact",
        study="identity",
        title="blocks of F = 0 change nothing",
        sentence=(
            "Blocks that learned nothing (a last batch-norm scale of 0) leave every "
            "logit of the trained residual-{deep} as it was, to the last bit."
        ),
        refuted=(
            "Blocks that learned nothing change the logits of the trained "
            "residual-{deep}."
        ),
        explained="N is R here, the reference.",
        lesson=Lesson(3, "输出 = 0 + x = x", "Output = 0 + x = x."),
        supporting="He et al. 2015, section 3.1; Goyal et al. 2017, section 5.1",
        criteria=(Criterion(of.inserted_difference, AT_MOST, 0.0),),
        cases=of.at_reference,
    ),
    Claim(
        name="identity-never-worse",
        study="identity",
        title="added blocks do not hurt",
        sentence=(
            "After equally many further training steps, residual-{deep} with added "
            "blocks has a training loss no higher than without them."
        ),
        refuted=(
            "After equally many further training steps, residual-{deep} with added "
            "blocks has a higher training loss than without them: added layers can "
            "make it worse."
        ),
        explained=(
            "N is R here, the reference. The claim is about further training from one "
            "point, on the training set; the paper's network of 1202 layers has a "
            "higher test error than that of 110."
        ),
        lesson=Lesson(3, "永远不会变差！", "It never gets worse!"),
        supporting="He et al. 2015, section 1",
        contradicting="He et al. 2015, Table 6: 1202 layers test worse than 110",
        criteria=(Criterion(of.loss_after_insertion, BELOW, LOSS_MARGIN),),
        cases=of.at_reference,
    ),
    Claim(
        name="identity-plain-control",
        study="identity",
        title="control: same blocks, plain-{deep}",
        sentence=(
            "Control: the same blocks, added to the trained plain-{deep}, where x "
            "cannot bypass them, destroy it."
        ),
        refuted=(
            "Control failed: the same blocks, added to the trained plain-{deep}, do "
            "little harm."
        ),
        explained="N is R here, the reference.",
        lesson=Lesson(
            1,
            "不管F(x)学没学到东西，x都能直接传过去",
            "Whether F(x) has learned something or not, x gets through.",
        ),
        supporting="He et al. 2015, section 3.1",
        criteria=(Criterion(of.plain_insertion, ABOVE, PLAIN_LESION),),
        cases=of.at_reference,
    ),
    Claim(
        name="response-small",
        study="response",
        title="residual responses are small",
        sentence=(
            "Residual functions are small: the blocks of residual-{deep} add less to "
            "their input than those of residual-{reference}, and these change it less "
            "than the blocks of plain-{reference}."
        ),
        refuted=(
            "Residual functions are not small: the blocks of residual-{deep} add no "
            "less to their input than those of residual-{reference}, or these change "
            "it no less than the blocks of plain-{reference}."
        ),
        explained=(
            "In a deeper network, each block has less to do. The spread of each "
            "convolution after batch norm, which the paper plots, is in the figure "
            "but not judged: it is little more than the learned scale, which hardly "
            "changes in a short budget."
        ),
        lesson=Lesson(
            3,
            "中间的层什么都没学到（输出≈0）",
            "The layers in between learned nothing (their output is about 0).",
        ),
        supporting="He et al. 2015, section 4.2 and Fig. 7",
        criteria=(
            Criterion(of.response_with_depth, BELOW, 1.0),
            Criterion(of.response_with_shortcuts, BELOW, 1.0),
        ),
        cases=of.deepest,
    ),
    Claim(
        name="lesion-residual-robust",
        study="lesion",
        title="residual-{deep} survives losing a block",
        sentence=(
            "Deleting one block raises the error of the trained residual-{deep} by "
            "less than 2 points at the median and that of the trained plain-{other} "
            "by more than 20: x takes the shortcut around the missing block."
        ),
        refuted=(
            "Deleting one block raises the error of the trained residual-{deep} by "
            "more than 2 points at the median, or that of the trained plain-{other} "
            "by less than 20."
        ),
        explained=(
            "Each block that keeps the shape is deleted in turn, for residual and "
            "plain separately at the deepest depth at which every seed has trained."
        ),
        lesson=Lesson(
            2,
            '让输入可以"抄近路"到输出！',
            "It lets the input take a shortcut to the output!",
        ),
        supporting="Veit et al. 2016, section 4.1",
        criteria=(
            Criterion(of.residual_deletion, BELOW, RESIDUAL_LESION),
            Criterion(of.plain_deletion, ABOVE, PLAIN_LESION),
        ),
        cases=of.trained,
    ),
    Claim(
        name="constructed-exists",
        study="constructed",
        title="plain-{deep} can be good",
        sentence=(
            "A plain network of {deep} layers as good as the trained one of "
            "{reference} exists (identity layers construct it), yet {steps} steps of "
            "SGD on {dataset} end at a higher training error."
        ),
        refuted=(
            "SGD on {dataset} finds a plain-{deep} no worse than the constructed one "
            "in {steps} steps, or the construction does not keep the function."
        ),
        explained=(
            "The added layers pass everything through: Dirac convolutions, batch norm "
            "set to the identity. So a good network exists, and SGD does not find it."
        ),
        lesson=Lesson(
            3,
            "至少不会比没加这些层更差",
            "At least no worse than without these added layers.",
        ),
        supporting="He et al. 2015, section 1: a solution by construction",
        criteria=(
            Criterion(of.above_constructed, ABOVE, SAME_POINTS),
            Criterion(of.constructed_logits, AT_MOST, SAME_LOGITS),
        ),
        cases=of.deepest,
    ),
    Claim(
        name="landscape-rougher",
        study="landscape",
        title="plain-{deep}: a rougher loss",
        sentence=(
            "Around the weights after {steps} steps on {dataset}, the loss of "
            "plain-{deep} (training error {plain_error}) is more than twice as rough, "
            "relative to its range, as that of residual-{deep} ({residual_error})."
        ),
        refuted=(
            "Around the weights after {steps} steps on {dataset}, the loss of "
            "plain-{deep} (training error {plain_error}) is less than twice as rough, "
            "relative to its range, as that of residual-{deep} ({residual_error})."
        ),
        explained=(
            "The loss of 256 training images is computed along eight random lines of "
            "21 points through the trained weights, every filter moving by up to its "
            "own length. Roughness is the root mean square of a line's second "
            "differences over its range. A plain network that has not trained is not "
            "at a minimum, so the study is repeated at 32 layers, where both train, "
            "if the grid has that depth."
        ),
        lesson=CANNOT_BE_TRAINED,
        supporting="Li et al. 2018, Fig. 1",
        criteria=(Criterion(of.roughness_without_shortcuts, ABOVE, ROUGHER),),
        cases=of.each_landscape,
        control="landscape-rough-control",
    ),
    Claim(
        name="landscape-rough-control",
        study="landscape",
        title="control: a network made rough",
        sentence=(
            "Positive control: with its logits z replaced by sin(10 z), "
            "residual-{deep} is measured as more than twice as rough."
        ),
        refuted=(
            "Positive control failed: residual-{deep} with its logits z replaced by "
            "sin(10 z) is not measured as rougher."
        ),
        explained="Without this control the claim above would mean nothing.",
        lesson=CANNOT_BE_TRAINED,
        criteria=(Criterion(of.roughness_when_folded, ABOVE, ROUGHER),),
        cases=of.deepest_landscape,
    ),
    Claim(
        name="landscape-same-control",
        study="landscape",
        title="control: the same network twice",
        sentence=(
            "Negative control: two sets of random lines through the same residual-"
            "{deep} are less than a factor of two apart in roughness."
        ),
        refuted=(
            "Negative control failed: two sets of random lines through the same "
            "residual-{deep} differ in roughness by more than a factor of two."
        ),
        lesson=CANNOT_BE_TRAINED,
        criteria=(Criterion(of.roughness_of_one_network, BELOW, ROUGHER),),
        cases=of.deepest_landscape,
    ),
    Claim(
        name="thousand-hundred",
        study="thousand",
        title="residual-{deep} trains: {recipe}",
        sentence=(
            "After {steps} steps on {dataset} with {recipe}, the residual network of "
            "{deep} layers has trained: its training error is below {trained} %."
        ),
        refuted=(
            "After {steps} steps on {dataset} with {recipe}, the residual network of "
            "{deep} layers has not trained: its training error is above {trained} %."
        ),
        explained=(
            "Judged on the deepest of the grid (110 layers in `--profile thousand`), "
            "once for each recipe: the last batch-norm scale of every block starts at "
            "zero, or the paper's learning rates with their warm-up."
        ),
        lesson=THOUSAND_LAYERS,
        supporting="He et al. 2015, Table 6; Goyal et al. 2017, section 5.1",
        criteria=(trains(of.treated_error),),
        cases=of.hundred_with_each_recipe,
    ),
    Claim(
        name="thousand-layers",
        study="thousand",
        title="residual-{deep} trains: {recipe}",
        sentence=(
            "After {steps} steps on {dataset} with {recipe}, the residual network of "
            "{deep} layers (narrower where the row says so) has trained: its training "
            "error is below {trained} %."
        ),
        refuted=(
            "After {steps} steps on {dataset} with {recipe}, the residual network of "
            "{deep} layers has not trained: its training error is above {trained} %."
        ),
        explained="As above, judged on 1202 layers, 8 channels wide instead of 16.",
        lesson=THOUSAND_LAYERS,
        supporting="He et al. 2015, section 4.2, exploring over 1000 layers",
        criteria=(trains(of.treated_error),),
        cases=of.thousand_with_each_recipe,
    ),
    Claim(
        name="thousand-control",
        study="thousand",
        title="control: plain-{deep} fails",
        sentence=(
            "Control: after the same {steps} steps on {dataset}, the plain network of "
            "{deep} layers has not trained, as it is or with the paper's warm-up; its "
            "training error is above {trained} %."
        ),
        refuted=(
            "Control failed: after the same {steps} steps on {dataset}, the plain "
            "network of {deep} layers has trained as well, so the shortcut was not "
            "needed."
        ),
        lesson=THOUSAND_LAYERS,
        supporting="He et al. 2015, section 4.2: plain-110 above 60 % error",
        contradicting="Xiao et al. 2018: 10,000 plain layers can be trained",
        criteria=(
            fails(of.plain_error()),
            fails(of.plain_error(" with warm-up", "paper-warm-up")),
        ),
        cases=of.at_hundred,
    ),
    Claim(
        name="shortcut-identity-best",
        study="shortcut",
        title="depth {deep}: x < conv(x) < x/2",
        sentence=(
            "After {steps} steps on {dataset}, the pure +x gives residual-{deep} the "
            "lowest training error, a 1×1 convolution of x a higher one and half of x "
            "the highest: the order of He et al. 2016, Table 1."
        ),
        refuted=(
            "After {steps} steps on {dataset}, the order of He et al. 2016, Table 1 "
            "(x, then a convolution of x, then half of x) does not hold at depth "
            "{deep}."
        ),
        explained=(
            "The order is tested pair by pair. Scales of 0.25 and 0.75, option B and "
            "pre-activation are also measured and shown."
        ),
        lesson=Lesson(1, "就多了一个 +x ！", "There is just one +x more!"),
        supporting="He et al. 2016, Table 1",
        criteria=(
            Criterion(of.convolution_above_identity, ABOVE, SAME_POINTS),
            Criterion(of.half_above_convolution, ABOVE, SAME_POINTS),
        ),
        cases=of.at_middle,
    ),
    Claim(
        name="controls-necessary",
        study="controls",
        title="only shortcuts train depth {deep}",
        sentence=(
            "After {steps} steps on {dataset}, no other remedy trains plain-{deep}: "
            "not a Dirac start, nor twice the width, nor Adam."
        ),
        refuted=(
            "After {steps} steps on {dataset}, another remedy trains plain-{deep} as "
            "well: shortcuts are sufficient, not necessary."
        ),
        explained="Refuted as soon as one remedy trains most seeds.",
        lesson=Lesson(
            3,
            "这就是为什么ResNet可以做到100+层",
            "This is why ResNet can reach more than 100 layers.",
        ),
        contradicting=(
            "Balduzzi et al. 2017, section 4; Zagoruyko and Komodakis 2017 (Dirac); "
            "Xiao et al. 2018"
        ),
        criteria=tuple(
            fails(of.plain_error(f" {remedy}", name))
            for remedy, name in (
                ("from a Dirac start", "dirac"),
                ("twice as wide", "wide"),
                ("with Adam", "adam"),
            )
        ),
        cases=of.at_middle,
    ),
    Claim(
        name="anysize-pooling",
        study="anysize",
        title="a ResNet accepts any image size",
        sentence=(
            "With global average pooling, a residual network accepts every image size "
            "that was tried and answers with the same number of classes."
        ),
        refuted="With global average pooling, a network refused an image size.",
        explained="Tried: 32×32, 64×64, 97×131 and 224×224.",
        lesson=Lesson(
            4,
            "全局平均池化（不管图片多大，变成1×1）",
            "Global average pooling (however large the image, it becomes 1×1).",
        ),
        supporting="Lin et al. 2014, section 3.2",
        criteria=(Criterion(of.resnet_refusals, AT_MOST, 0.0),),
        cases=of.image_sizes,
    ),
    Claim(
        name="anysize-flatten",
        study="anysize",
        title="control: LeNet accepts one size",
        sentence=(
            "Control: LeNet, which flattens instead, accepts the one image size that "
            "it was built for."
        ),
        refuted="LeNet, which flattens instead, accepts more than one image size.",
        explained="In this respect the two networks differ.",
        lesson=Lesson(
            4, "和LeNet的套路完全一样", "Exactly the same pattern as LeNet's."
        ),
        supporting="LeCun et al. 1998, section II.B: inputs of 32×32",
        criteria=(Criterion(of.lenet_acceptances, AT_MOST, 1.0),),
        cases=of.image_sizes,
    ),
)
