"""What claims compare: one function per statistic, and which networks it is read on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from resnet_bench.catalogue import dataset_title
from resnet_bench.experiments.degradation.claims.evidence import (
    BySeed,
    Case,
    Evidence,
    Network,
    minus,
    over,
)
from resnet_bench.experiments.degradation.claims.rules import (
    Arms,
    Rule,
    Samples,
    Statistic,
)
from resnet_bench.experiments.degradation.grid import FEW_IMAGES, SHORTCUTS
from resnet_bench.experiments.degradation.records import Shortcut
from resnet_bench.present.numbers import compact

#: What the treatments of very deep networks are called.
RECIPES = {"zero-gamma": "zero last scales", "paper-warm-up": "the paper's warm-up"}


def statistic(
    words: str, unit: str = "", *, rule: Rule = Rule.COUNTED, arms: Arms | None = None
) -> Callable[[Samples], Statistic]:
    """Make a statistic of the function below, named by these words."""
    return lambda samples: Statistic(words, samples, unit, rule, arms)


def difference(
    words: str, unit: str = "pp", *, rule: Rule = Rule.COUNTED
) -> Callable[[Arms], Statistic]:
    """Make one of two networks' errors: the one claimed to be worse minus the other."""

    def make(arms: Arms) -> Statistic:
        def samples(evidence: Evidence, case: Case) -> BySeed:
            return minus(*arms(evidence, case))

        return Statistic(words, samples, unit, rule, arms)

    return make


def plain_and_residual(evidence: Evidence, case: Case) -> tuple[BySeed, BySeed]:
    """Return both networks' training error at the deep depth."""
    depth, budget = case.deep, case.multiple
    plain = Network("plain", depth, budget=budget)
    residual = Network("residual", depth, budget=budget)
    return evidence.error(plain), evidence.error(residual)


trained_apart = difference(
    "training error of plain-{deep} and of residual-{deep}", "%", rule=Rule.FISHER
)(plain_and_residual)


def _deep_and_reference(
    evidence: Evidence, case: Case, shortcut: Shortcut
) -> tuple[BySeed, BySeed]:
    """Return the training errors at the deep depth and at the reference."""
    deep = Network(shortcut, case.deep, budget=case.multiple)
    reference = Network(shortcut, evidence.reference, budget=case.multiple)
    return evidence.error(deep), evidence.trained_error(reference)


@difference("plain-{deep} − plain-{reference}, training error")
def plain_growth(evidence: Evidence, case: Case) -> tuple[BySeed, BySeed]:
    """Return what depth costs the plain network."""
    return _deep_and_reference(evidence, case, "plain")


@statistic("residual-{deep} − residual-{reference}, training error", "pp")
def residual_growth(evidence: Evidence, case: Case) -> BySeed:
    """Return what depth costs the residual network."""
    return minus(*_deep_and_reference(evidence, case, "residual"))


@statistic(
    "D = (plain-{deep} − plain-{reference}) − (residual-{deep} − "
    "residual-{reference}), training error",
    "pp",
    arms=plain_and_residual,
)
def excess(evidence: Evidence, case: Case) -> BySeed:
    """Return D: what depth costs the plain network beyond the residual one."""
    return minus(plain_growth(evidence, case), residual_growth(evidence, case))


@statistic("D after 1× minus D after {multiple}× the steps", "pp")
def excess_shrinks(evidence: Evidence, case: Case) -> BySeed:
    """Return D after one budget minus D after the longer one, same seeds."""
    once = replace(case, multiple=1)
    return minus(excess(evidence, once), excess(evidence, case))


@difference("plain-{other} − plain-{deep}, training error")
def shallow_excess(evidence: Evidence, case: Case) -> tuple[BySeed, BySeed]:
    """Return the shallow plain network's error and the reference's."""
    shallow = evidence.error(Network("plain", case.other))
    return shallow, evidence.trained_error(Network("plain", case.deep))


def gap_difference(
    words: str, networks: Callable[[Evidence, Case], tuple[Network, Network]]
) -> Statistic:
    """Return one network's gap of test over training error minus another's."""

    def samples(evidence: Evidence, case: Case) -> BySeed:
        return minus(*map(evidence.gap, networks(evidence, case)))

    def points(evidence: Evidence, case: Case) -> float | None:
        return evidence.gap_image_points(*networks(evidence, case))

    return Statistic(words, samples, "pp", image_points=points)


gap_growth = gap_difference(
    "(test − training error) of plain-{deep} minus that of plain-{reference}",
    lambda evidence, case: (
        Network("plain", case.deep),
        Network("plain", evidence.reference),
    ),
)
few_images_gap_growth = gap_difference(
    f"(test − training error) with {FEW_IMAGES} images minus that with all, "
    "plain-{deep}",
    lambda evidence, case: (
        Network("plain", case.deep, train_images=FEW_IMAGES),
        Network("plain", case.deep),
    ),
)


@statistic("training error of residual-{deep}", "%")
def residual_error(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual network's training error."""
    return evidence.error(Network("residual", case.deep))


@statistic("training error of residual-{deep} with {recipe}", "%")
def treated_error(evidence: Evidence, case: Case) -> BySeed:
    """Return the training error of the residual network with the case's treatment."""
    return evidence.error(Network("residual", case.deep, case.treatment))


def plain_error(name: str = "", treatment: str = "standard") -> Statistic:
    """Return the training error of a plain network, treated or not, as a statistic."""

    @statistic(f"training error of plain-{{deep}}{name}", "%")
    def error(evidence: Evidence, case: Case) -> BySeed:
        network = Network("plain", case.deep, treatment, budget=case.multiple)
        return evidence.error(network)

    return error


@statistic(
    "||dL/dx|| at the first block over that at the last, plain-{deep}, step 0",
    rule=Rule.LOG_T,
)
def gradient_ratio(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain net's gradient at the bottom over that at the top, step 0."""
    return evidence.gradient_ratio(Network("plain", case.deep))


@statistic(
    "||dL/dx|| at the first block against that at the last, the larger over the "
    "smaller, plain-{deep}, step 0",
    rule=Rule.LOG_T,
)
def gradient_imbalance(evidence: Evidence, case: Case) -> BySeed:
    """Return the larger of the gradient's ratio and its inverse."""
    return _larger_over_smaller(gradient_ratio(evidence, case))


def _larger_over_smaller(ratios: BySeed) -> BySeed:
    """Return each ratio, or its inverse where that is the larger."""
    return {seed: max(ratio, 1 / ratio) for seed, ratio in ratios.items()}


@statistic("largest difference of logits, with and without the blocks", rule=Rule.WORST)
def inserted_difference(evidence: Evidence, case: Case) -> BySeed:
    """Return how far blocks that learned nothing move the residual net's logits."""
    network = Network("residual", case.deep)
    return evidence.insertion(network, "largest_logit_difference")


@statistic("training loss with added blocks minus that without", rule=Rule.T)
def loss_after_insertion(evidence: Evidence, case: Case) -> BySeed:
    """Return the extended net's later training loss minus the untouched net's."""
    network = Network("residual", case.deep)
    extended = evidence.insertion(network, "loss_extended_later")
    return minus(extended, evidence.insertion(network, "loss_untouched_later"))


@statistic("rise of plain-{deep}'s training error with the blocks", "pp", rule=Rule.T)
def plain_insertion(evidence: Evidence, case: Case) -> BySeed:
    """Return what the same insertion costs the plain network, in points of error."""
    network = Network("plain", case.deep)
    after = evidence.insertion(network, "error_after_percent")
    return minus(after, evidence.insertion(network, "error_before_percent"))


@statistic(
    "mean of ||F(x)|| / ||x||, residual-{deep} over residual-{reference}",
    rule=Rule.LOG_T,
)
def response_with_depth(evidence: Evidence, case: Case) -> BySeed:
    """Return the deep residual net's mean response over the reference's."""
    deep = evidence.response(Network("residual", case.deep))
    return over(deep, evidence.response(Network("residual", evidence.reference)))


@statistic(
    "mean of ||F(x)|| / ||x||, residual-{reference} over plain-{reference}",
    rule=Rule.LOG_T,
)
def response_with_shortcuts(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual net's mean response over the plain net's, same depth."""
    residual = evidence.response(Network("residual", evidence.reference))
    return over(residual, evidence.response(Network("plain", evidence.reference)))


@statistic(
    "median rise of the error, residual-{deep} less one block", "pp", rule=Rule.T
)
def residual_deletion(evidence: Evidence, case: Case) -> BySeed:
    """Return the residual net's median loss from deleting one block."""
    return evidence.deletion(Network("residual", case.deep))


@statistic("median rise of the error, plain-{other} less one block", "pp", rule=Rule.T)
def plain_deletion(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain net's median loss from deleting one block."""
    return evidence.deletion(Network("plain", case.other))


@statistic(
    "roughness of the loss along random lines, plain-{deep} over residual-{deep}",
    rule=Rule.LOG_T,
)
def roughness_without_shortcuts(evidence: Evidence, case: Case) -> BySeed:
    """Return the plain net's roughness around its weights over the residual net's."""
    plain = evidence.roughness(Network("plain", case.deep))
    return over(plain, evidence.roughness(Network("residual", case.deep)))


@statistic(
    "roughness of the loss along random lines, residual-{deep} with folded logits "
    "over residual-{deep}",
    rule=Rule.LOG_T,
)
def roughness_when_folded(evidence: Evidence, case: Case) -> BySeed:
    """Return the roughness of a network made rough over that of the network itself."""
    network = Network("residual", case.deep)
    folded = evidence.roughness(network, "folded_losses")
    return over(folded, evidence.roughness(network))


@statistic(
    "roughness of the loss along two sets of random lines, residual-{deep}, the larger "
    "over the smaller",
    rule=Rule.LOG_T,
)
def roughness_of_one_network(evidence: Evidence, case: Case) -> BySeed:
    """Return how far two sets of lines disagree about one network."""
    network = Network("residual", case.deep)
    even, odd = (evidence.roughness(network, parity=parity) for parity in (0, 1))
    return _larger_over_smaller(over(even, odd))


@difference("plain-{deep} by SGD minus constructed, training error")
def above_constructed(evidence: Evidence, case: Case) -> tuple[BySeed, BySeed]:
    """Return the deep plain network's error by SGD and that of the constructed."""
    constructed = evidence.construction(case.deep, "constructed_error_percent")
    return evidence.error(Network("plain", case.deep)), constructed


@statistic("largest difference of logits, constructed and shallow", rule=Rule.WORST)
def constructed_logits(evidence: Evidence, case: Case) -> BySeed:
    """Return how far the constructed net's logits are from the shallow net's."""
    return evidence.construction(case.deep, "largest_logit_difference")


def shortcut_difference(words: str, worse: str, better: str) -> Statistic:
    """Return a residual network's error with one shortcut minus that with another."""

    @difference(words)
    def arms(evidence: Evidence, case: Case) -> tuple[BySeed, BySeed]:
        first, second = (
            evidence.error(Network("residual", case.deep, treatment))
            for treatment in (worse, better)
        )
        return first, second

    return arms


convolution_above_identity = shortcut_difference(
    "1×1 convolution of x minus x, training error", "convolution-shortcut", "standard"
)
half_above_convolution = shortcut_difference(
    "half of x minus 1×1 convolution of x, training error",
    "lambda-0.5",
    "convolution-shortcut",
)


@statistic("image sizes refused with global average pooling", rule=Rule.WORST)
def resnet_refusals(evidence: Evidence, case: Case) -> BySeed:
    """Return how many image sizes a network with global pooling refuses."""
    refused = evidence.refused_sizes("adaptive")
    return {0: float(sum(refused))} if refused else {}


@statistic("image sizes accepted where the last maps are flattened", rule=Rule.WORST)
def lenet_acceptances(evidence: Evidence, case: Case) -> BySeed:
    """Return how many image sizes a network that flattens accepts."""
    refused = evidence.refused_sizes("flatten")
    return {0: float(len(refused) - sum(refused))} if refused else {}


def _case(evidence: Evidence, deep: int, other: int = 0, lacks: str = "") -> Case:
    """Return a case whose words name the run's budget, data and reference depth."""
    words = {
        "steps": "the budget's" if evidence.steps is None else evidence.steps,
        "dataset": dataset_title(evidence.dataset),
        "reference": evidence.reference,
        "extreme": evidence.extreme,
        "trained": f"{evidence.trained_percent:g}",
        "data": "" if evidence.own else f" ({evidence.dataset})",
    }
    return Case(deep, other, words=words, lacks=lacks)


def each_depth(evidence: Evidence) -> Sequence[Case]:
    """Judge the deep depths; the deepest of a grid without any."""
    found = [_case(evidence, depth) for depth in evidence.deep]
    return found or at_hundred(evidence)


def each_deep(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks, and before them the deepest up to 56 layers."""
    lacks = f"the grid has no network deeper than {evidence.reference} layers"
    found = [_case(evidence, depth) for depth in evidence.deep]
    return found or [_case(evidence, 0, lacks=lacks)]


def deepest(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks only."""
    return each_deep(evidence)[-1:]


def at_reference(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth that deeper networks are held against."""
    return [_case(evidence, evidence.reference)]


def at_few_images(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth whose network also learned a few images by heart."""
    return [_case(evidence, evidence.few_images_depth)]


def at_middle(evidence: Evidence) -> Sequence[Case]:
    """Judge the depth of the studies that treat the network."""
    return [_case(evidence, evidence.middle)]


def each_landscape(evidence: Evidence) -> Sequence[Case]:
    """Judge each depth around whose weights the loss was computed, the deepest first.

    The words say how well the networks were trained: weights need not be a minimum.
    """
    return [
        replace(case, words={**case.words, **_errors(evidence, case.deep)})
        for depth in reversed(evidence.depths_of("landscape"))
        for case in [_case(evidence, depth)]
    ]


def _errors(evidence: Evidence, depth: int) -> dict[str, str]:
    """Return the mean training errors of both networks of a depth, in words."""
    errors = {name: evidence.error(Network(name, depth)) for name in SHORTCUTS}
    return {
        f"{name}_error": f"{compact(fmean(found.values()))} %" if found else "unknown"
        for name, found in errors.items()
    }


def deepest_landscape(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest network around whose weights the loss was computed."""
    return each_landscape(evidence)[:1]


def hundred_with_each_recipe(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks of the grid with each recipe for very deep ones."""
    return _with_each_recipe(at_hundred(evidence))


def thousand_with_each_recipe(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest network of the whole run with each recipe."""
    return _with_each_recipe([_case(evidence, evidence.extreme)])


def _with_each_recipe(cases: Sequence[Case]) -> Sequence[Case]:
    return [
        replace(case, treatment=treatment, words={**case.words, "recipe": recipe})
        for case in cases
        for treatment, recipe in RECIPES.items()
    ]


def at_hundred(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks of the grid, whatever they are."""
    return [_case(evidence, max(evidence.depths))]


def shallowest(evidence: Evidence) -> Sequence[Case]:
    """Hold the shallowest networks (`other`) against the reference; harder data too."""
    shallow, reference = min(evidence.depths), evidence.reference
    if shallow < reference:
        own = [_case(evidence, reference, shallow)]
        if evidence.harder is None:
            return own
        harder = _case(evidence.on(evidence.harder), reference, shallow)
        return [*own, replace(harder, dataset=evidence.harder)]
    lacks = f"the grid has no network shallower than {reference} layers"
    return [_case(evidence, reference, lacks=lacks)]


def each_budget(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks that a longer budget trained; none without one."""
    return [
        replace(_case(evidence, max(depths), min(depths)), multiple=multiple)
        for multiple in evidence.multiples
        if len(depths := evidence.budget_depths(multiple)) > 1
    ]


def trained(evidence: Evidence) -> Sequence[Case]:
    """Judge the deepest networks that trained: `deep` residual, `other` plain."""
    residual = evidence.deepest_trained("residual")
    plain = evidence.deepest_trained("plain")
    depths = {"residual": residual, "plain": plain}
    lacking = [shortcut for shortcut, depth in depths.items() if not depth]
    lacks = f"no {' and no '.join(lacking)} network trained" if lacking else ""
    return [_case(evidence, residual or 0, plain or 0, lacks)]


def image_sizes(evidence: Evidence) -> Sequence[Case]:
    """Judge the run's one table of sizes."""
    return [_case(evidence, 0)]
