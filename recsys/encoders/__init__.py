"""Histories in, states out: what a user is after each item."""

from recsys.encoders.base import SequenceEncoder as SequenceEncoder
from recsys.encoders.gru import GRUEncoder as GRUEncoder
from recsys.encoders.transformer import TransformerEncoder as TransformerEncoder
