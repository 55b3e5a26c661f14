# SPDX-License-Identifier: MIT
"""The one pair of model and machine that answers the question, and the rows of the table below it."""

from __future__ import annotations

from typing import NamedTuple, Optional

from .document import Answer, Choice, PlanDocument, PlannedModel, Recommendation

# Tokens a second as fast as one reads: 240 words a minute, of four tokens for three words.
READING = 5.0


class Pair(NamedTuple):
    """A model and a machine that holds it."""

    model: PlannedModel
    said: Answer

    @property
    def speed(self) -> float:
        return self.said["tokens_per_second"]["expected"] if self.said["tokens_per_second"] else 0.0

    @property
    def cost(self) -> float:
        """Infinite where it is not known."""
        cost = self.said["cost_usd"]
        return float("inf") if cost is None else cost

    @property
    def weights(self) -> int:
        return self.model["parameters"] or self.model["bytes"]


def _chosen(choice: Choice, pair: Pair, of: int) -> Recommendation:
    return {"choice": choice, "model": pair.model["name"], "machine": pair.said["machine"], "of": of}


def _of_one_model(pairs: list[Pair], budget: Optional[float]) -> Recommendation:
    # The answers are in the order of what they cost for a token a second.
    priced = [pair for pair in pairs if pair.said["cost_per_token_s"] is not None]
    if len(pairs) == 1:
        return _chosen("only", pairs[0], 1)
    if budget is None and priced:
        return _chosen("cheapest-token", priced[0], len(priced))
    return _chosen("fastest", max(pairs, key=lambda pair: pair.speed), len(pairs))


def _of_models(pairs: list[Pair], budget: Optional[float]) -> Recommendation:
    readable = [pair for pair in pairs if pair.speed >= READING]
    priced = [pair for pair in readable if pair.said["cost_usd"]]
    if not readable:
        return _chosen("fastest", max(pairs, key=lambda pair: pair.speed), len(pairs))
    if budget is None and priced:
        return _chosen("most-weights", max(priced, key=lambda pair: pair.weights / pair.cost), len(priced))
    return _chosen("largest", max(readable, key=lambda pair: (pair.weights, pair.speed)), len(readable))


def recommendation(models: list[PlannedModel], budget: Optional[float]) -> Optional[Recommendation]:
    """What to take; None where there is nothing to choose from."""
    pairs = [Pair(model, said) for model in models for said in model["answers"]]
    fitting = [pair for pair in pairs if pair.said["fits"]]
    if not pairs:
        return None
    if not fitting:
        lacking = [pair for pair in pairs if pair.said["missing_bytes"]] or pairs
        return _chosen("nothing-fits", min(lacking, key=lambda pair: pair.said["missing_bytes"] or 0), len(pairs))
    best = _of_one_model if len(models) == 1 else _of_models
    # Of a machine of which a part has no price, nobody knows whether it is the cheapest.
    whole = [pair for pair in fitting if pair.said["cost_usd"] is not None and not pair.said["cost_least"]]
    fitting = whole or fitting
    if budget is None:
        return best(fitting, None)
    within = [pair for pair in fitting if pair.cost <= budget]
    if within:
        return best(within, budget)
    if all(pair.said["cost_usd"] is None for pair in fitting):
        return {**best(fitting, None), "choice": "unpriced"}
    return _chosen("over-budget", min(fitting, key=lambda pair: (pair.cost, -pair.weights)), len(fitting))


def answer_of(document: PlanDocument) -> Optional[tuple[PlannedModel, Answer]]:
    """The model and the answer that are recommended."""
    chosen = document["recommendation"]
    return next(
        (
            (model, said)
            for model in document["models"]
            for said in model["answers"]
            if chosen and (model["name"], said["machine"]) == (chosen["model"], chosen["machine"])
        ),
        None,
    )


def rows(document: PlanDocument) -> list[Answer]:
    """What the table has: of one machine all models, those that are decoded as fast as one reads first and of these the
    largest; else of the recommended model all machines. What is recommended is first."""
    found = answer_of(document)
    if found is None:
        return []
    model, best = found
    if len(model["answers"]) > 1 or len(document["models"]) == 1:
        return [best, *(said for said in model["answers"] if said is not best)]
    pairs = [Pair(each, said) for each in document["models"] for said in each["answers"] if said is not best]

    def key(pair: Pair) -> tuple[int, float]:
        if not pair.said["fits"]:
            return 2, pair.said["missing_bytes"] or float("inf")
        return (0, -pair.weights) if pair.speed >= READING else (1, -pair.speed)

    return [best, *(pair.said for pair in sorted(pairs, key=key))]
