"""Small policy documents, and the way from a document to a policy."""

import tomllib

from stream_app.domain.policy import Policy
from stream_app.domain.policy_defaults import complete
from stream_app.domain.policy_parsing import parse_policy
from tests.factories import one_axis_document

AXIS = """
[axes.value]
score = "value"
tiers = ["small", "big", "vip"]
cut_rule = "quantiles"
cuts = [0.8, 0.95]
margin = 0.25
confirmation = "0d"
"""
ANY = """
[[treatments]]
segment = ["*"]
channel = "digital"
action = "Serve."
"""
TWO_AXES = """
[axes.value]
score = "value"
tiers = ["small", "big"]
cut_rule = "quantiles"
cuts = [0.8]
margin = 0.25
confirmation = "0d"
[axes.worth]
score = "value"
tiers = ["low", "high"]
cut_rule = "absolute"
cuts = [3]
margin = 2
confirmation = "14d"
"""


def parse(text: str) -> Policy:
    return parse_policy(complete(tomllib.loads(text), one_axis_document()))


def axis_with(old: str, new: str) -> str:
    assert old in AXIS
    return AXIS.replace(old, new) + ANY
