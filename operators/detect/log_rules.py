"""What policy.detect says about log lines, as the pure classes take it."""

from datetime import timedelta

from operators.detect.log_series import LogRules
from operators.detect.pattern import PatternRule
from operators.detect.pattern_series import PatternTiming
from operators.detect.rate import RateRule
from operators.detect.templates import TemplateRule
from policy import Policy


def pattern_rules(policy: Policy) -> list[PatternRule]:
    """The patterns, in policy's order."""
    return [
        PatternRule(name, rule.regex, rule.incident_type, rule.severity, rule.domain, rule.service, rule.min_level)
        for name, rule in policy.detect.patterns.items()
    ]


def pattern_timing(policy: Policy) -> PatternTiming:
    """When matches are reported, and cleared."""
    detect = policy.detect
    return PatternTiming(
        detect.pattern_burst,
        timedelta(seconds=detect.pattern_repeat_s),
        timedelta(seconds=detect.pattern_clear_s),
    )


def log_rules(policy: Policy) -> LogRules:
    """How templates and rates are watched."""
    templates, rates = policy.detect.templates, policy.detect.rates
    return LogRules(
        TemplateRule(
            max_templates=templates.max,
            leaf_templates=templates.leaf,
            similarity=templates.similarity,
            min_level=templates.min_level,
            warmup=timedelta(seconds=templates.warmup_s),
            warmup_lines=templates.warmup_lines,
            novelty=templates.novelty,
            burst=templates.burst,
            period=timedelta(seconds=templates.period_s),
            clear=timedelta(seconds=templates.clear_s),
        ),
        RateRule(
            window_s=rates.window_s,
            grace_s=rates.grace_s,
            warmup_windows=rates.warmup_windows,
            half_life_s=rates.half_life_s,
            peak_half_life_s=rates.peak_half_life_s,
            fire=rates.fire,
            clear=rates.clear,
            clear_windows=rates.clear_windows,
            min_count=rates.min_count,
            peak_factor=rates.peak_factor,
        ),
        policy.detect.max_series,
    )
