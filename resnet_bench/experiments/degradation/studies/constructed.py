"""constructed: could the deep plain network be as good as the shallow one?"""

from collections.abc import Iterator

from resnet_bench.engine.models.blocks import with_identity_layers
from resnet_bench.engine.models.cifar import CifarNetwork
from resnet_bench.engine.seeding import generator
from resnet_bench.engine.training.evaluation import judge, predict
from resnet_bench.experiments.degradation.records import Construction
from resnet_bench.experiments.degradation.studies.subject import Subject


def observe(subject: Subject) -> Iterator[Construction]:
    """Yield, for each deeper depth, the shallow network's solution written into it."""
    network = subject.model
    if not isinstance(network, CifarNetwork) or subject.cell.shortcut != "plain":
        return
    train, normalisation = subject.train, subject.data.normalisation
    shallow = predict(network, train, normalisation)
    for depth in subject.cell.deep_depths:
        draw = generator(subject.cell.seed, "identity layers")
        deep = with_identity_layers(network, depth, draw).to(subject.cell.device)
        logits = predict(deep, train, normalisation)
        yield Construction(
            deep_depth=depth,
            images=len(train),
            largest_logit_difference=float((logits - shallow).abs().max()),
            shallow_error_percent=judge(shallow, train.labels).error_percent,
            constructed_error_percent=judge(logits, train.labels).error_percent,
        )
