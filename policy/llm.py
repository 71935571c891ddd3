"""llm: how the insight path asks for explanations."""

from pydantic import Field

from policy.base import Segment


class BreakerPolicy(Segment):
    """When a failing service is left alone."""

    failures: int = Field(5, ge=1, le=1000, description="failures in a row that open it")
    open_s: float = Field(60, ge=1, le=3600, description="seconds it stays open")
    probes: int = Field(3, ge=1, le=100, description="calls let through before it closes again")


class RagPolicy(Segment):
    """What is looked up beside the evidence."""

    documents: int = Field(5, ge=0, le=50, description="documents at most")
    similarity: float = Field(0.7, ge=0, le=1, description="least similarity")


class LlmPolicy(Segment):
    """The local LLM."""

    model: str = Field("phi3:mini", min_length=1, max_length=128, description="Ollama model, e.g. qwen2.5:3b-instruct")
    temperature: float = Field(0.25, ge=0, le=2, description="sampling temperature")
    max_tokens: int = Field(256, ge=16, le=8192, description="tokens of an answer at most")
    first_answer_ms: int = Field(300, ge=10, le=60_000, description="the rules' answer is out within this")
    total_ms: int = Field(10_000, ge=100, le=600_000, description="the LLM's answer is out within this, or skipped")
    concurrency: int = Field(3, ge=1, le=64, description="calls at once")
    queue: int = Field(100, ge=1, le=100_000, description="requests waiting at most")
    retries: int = Field(1, ge=0, le=10, description="tries after the first")
    breaker: BreakerPolicy = Field(BreakerPolicy(), description="circuit breaker")
    rag: RagPolicy = Field(RagPolicy(), description="retrieval")
