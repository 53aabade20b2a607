"""A learned view of vectors that prunes their dimensions by an information bottleneck (CVIB)."""

import torch
from torch import Tensor, nn

from graphcl.errors import InputError


class InformationGate(nn.Module):
    r"""Multiplies every dimension by a noisy gate, and forgets those whose noise outweighs their signal.

    In training $x \odot (\mu + \sqrt{\delta} \, \epsilon)$ with $\epsilon$ standard normal, one gate for all rows; in
    evaluation $x \odot \mu$ with exact zeros where $\log \delta - \log \mu^2 \ge$ `threshold`. `divergence` is what the
    gates cost; a weight on it trades dimensions for the task (Dai et al., ICML 2018; CVIB).
    """

    def __init__(self, size: int, *, threshold: float = 0.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.threshold = threshold
        start = torch.randn(2, size, generator=generator) * 0.01
        self.mean = nn.Parameter(1 + start[0])
        self.log_variance = nn.Parameter(start[1] - 9)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[N, d] -> [N, d]; `generator` is needed in training mode."""
        if not self.training:
            return x * self.mean * self.kept
        if generator is None:
            raise InputError("an InformationGate in training mode draws: give it a generator, or call eval()")
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device).to(self.mean)
        return x * (self.mean + (self.log_variance / 2).exp() * noise)

    @property
    def kept(self) -> Tensor:
        """[d] bool, the dimensions that carry more signal than noise."""
        return self.log_variance - self.mean.square().clamp(min=1e-30).log() < self.threshold

    def divergence(self) -> Tensor:
        """Sum over dimensions of log(1 + mu^2 / delta) / 2, never negative, 0 where all means are."""
        return gate_divergence(self.mean, self.log_variance)


def gate_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of gates from noise without a mean: [d], [d] -> []."""
    return torch.log1p(mean.square() / (log_variance.exp() + 1e-8)).sum() / 2
