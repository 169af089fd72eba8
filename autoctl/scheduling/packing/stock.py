"""How many more nodes of each offer may be had: availability, reservations, NodePool limits."""

from __future__ import annotations

import numpy as np

from autoctl.scheduling.packing.model import BoolArray, FloatArray, IntArray, PackingInput

PLENTY = 1 << 40
"""Stands for "as many as you like" in counts of nodes."""

_SLACK = 1e-9


class Stock:
    """Mutable book of what is left; copies are cheap enough for trial plans."""

    def __init__(
        self,
        available: IntArray,
        reservation: IntArray,
        reserved: IntArray,
        usage: FloatArray,
        remaining: FloatArray,
    ) -> None:
        self._available = available
        self._reservation = reservation
        self._reserved = reserved
        self._usage = usage
        self._remaining = remaining

    @classmethod
    def of(cls, question: PackingInput) -> Stock:
        """Open the book for a question."""
        offers = len(question.price)
        available = np.full(offers, PLENTY, np.int64)
        if question.available is not None:
            available = np.where(question.available >= 0, question.available, PLENTY)
        reservation = np.full(offers, -1, np.int64)
        reserved = np.zeros(0, np.int64)
        if question.reservation_index is not None and question.reservation_capacity is not None:
            reservation = question.reservation_index.astype(np.int64)
            reserved = np.maximum(question.reservation_capacity, 0).astype(np.int64)
        usage = np.zeros((offers, 0))
        remaining = np.zeros(0)
        if question.limit_usage is not None and question.limit_remaining is not None:
            usage = question.limit_usage.astype(np.float64)
            remaining = question.limit_remaining.astype(np.float64)
        return cls(available, reservation, reserved, usage, remaining)

    def copy(self) -> Stock:
        """An independent book with the same entries."""
        return Stock(
            self._available.copy(),
            self._reservation,
            self._reserved.copy(),
            self._usage,
            self._remaining.copy(),
        )

    @property
    def usage(self) -> FloatArray:
        """(O, L) what one node of each offer takes from each limit."""
        return self._usage

    @property
    def remaining(self) -> FloatArray:
        """(L,) what is left of each limit."""
        return self._remaining

    @property
    def reservation(self) -> IntArray:
        """(O,) reservation of each offer, -1 for none."""
        return self._reservation

    @property
    def reserved(self) -> IntArray:
        """(R,) nodes left in each reservation."""
        return self._reserved

    @property
    def available(self) -> IntArray:
        """(O,) nodes left of each offer by itself, PLENTY when unbounded."""
        return self._available

    def counted(self) -> BoolArray:
        """(O,) whether the number of nodes is bounded for the offer itself (not by a limit)."""
        return (self._available < PLENTY) | (self._reservation >= 0)

    def bounded(self, offers: IntArray) -> bool:
        """Whether anything bounds the number of nodes of the offers."""
        return len(self._remaining) > 0 or bool(self.counted()[offers].any())

    def rooms(self, offers: IntArray) -> IntArray:
        """(len(offers),) nodes that may still be had of each offer, taken alone."""
        rooms = self._available[offers]
        if len(self._reserved):
            book = self._reservation[offers]
            rooms = np.where(book >= 0, np.minimum(rooms, self._reserved[book]), rooms)
        if len(self._remaining):
            usage = self._usage[offers]
            with np.errstate(divide="ignore", invalid="ignore"):
                by_limit = np.where(
                    usage > 0, np.floor(np.maximum(self._remaining, 0) / usage + _SLACK), PLENTY
                )
            rooms = np.minimum(rooms, by_limit.min(axis=1).clip(0, PLENTY).astype(np.int64))
        return rooms

    def room(self, offer: int) -> int:
        """Nodes that may still be had of one offer."""
        return int(self.rooms(np.array([offer]))[0])

    def take(self, offer: int, nodes: int) -> None:
        """Book `nodes` of `offer`; a negative number gives them back."""
        if self._available[offer] < PLENTY:
            self._available[offer] -= nodes
        book = self._reservation[offer]
        if book >= 0:
            self._reserved[book] -= nodes
        if len(self._remaining):
            self._remaining -= nodes * self._usage[offer]
