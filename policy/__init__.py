"""When and how much: one module and one YAML file a segment, policy.yaml on top."""

from policy.errors import PolicyError
from policy.load import PolicySet, load_policy
from policy.model import Policy

__all__ = ["Policy", "PolicyError", "PolicySet", "load_policy"]
