"""HighwayHash, 64 bits of it: what nats-server puts behind each record of a block and beside each configuration.

No library that is kept has it, and a hash of each message is too much for Python. Nothing of the message path uses it.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stddef cimport size_t
from libc.string cimport memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef struct State:
    uint64_t[4] v0
    uint64_t[4] v1
    uint64_t[4] mul0
    uint64_t[4] mul1


cdef inline uint64_t half_turned(uint64_t value) noexcept nogil:
    return (value >> 32) | (value << 32)


cdef inline void zip(uint64_t odd, uint64_t even, uint64_t *high, uint64_t *low) noexcept nogil:
    low[0] += ((((even & 0xff000000ULL) | (odd & 0xff00000000ULL)) >> 24)
               | (((even & 0xff0000000000ULL) | (odd & 0xff000000000000ULL)) >> 16)
               | (even & 0xff0000ULL) | ((even & 0xff00ULL) << 32)
               | ((odd & 0xff00000000000000ULL) >> 8) | (even << 56))
    high[0] += ((((odd & 0xff000000ULL) | (even & 0xff00000000ULL)) >> 24)
                | (odd & 0xff0000ULL) | ((odd & 0xff0000000000ULL) >> 16)
                | ((odd & 0xff00ULL) << 24) | ((even & 0xff000000000000ULL) >> 8)
                | ((odd & 0xffULL) << 48) | (even & 0xff00000000000000ULL))


cdef void update(State *state, const uint64_t *lanes) noexcept nogil:
    cdef int i
    for i in range(4):
        state.v1[i] += state.mul0[i] + lanes[i]
        state.mul0[i] ^= (state.v1[i] & 0xffffffffULL) * (state.v0[i] >> 32)
        state.v0[i] += state.mul1[i]
        state.mul1[i] ^= (state.v0[i] & 0xffffffffULL) * (state.v1[i] >> 32)
    zip(state.v1[1], state.v1[0], &state.v0[1], &state.v0[0])
    zip(state.v1[3], state.v1[2], &state.v0[3], &state.v0[2])
    zip(state.v0[1], state.v0[0], &state.v1[1], &state.v1[0])
    zip(state.v0[3], state.v0[2], &state.v1[3], &state.v1[2])


cdef void update_rest(State *state, const uint8_t *rest, size_t size) noexcept nogil:
    cdef uint8_t[32] packet
    cdef uint64_t[4] lanes
    cdef size_t whole = size & ~<size_t> 3, odd = size & 3
    cdef int i
    cdef uint32_t low, high
    for i in range(4):
        state.v0[i] += (<uint64_t> size << 32) + size
        low = <uint32_t> state.v1[i]
        high = <uint32_t> (state.v1[i] >> 32)
        low = (low << size) | (low >> (32 - size))
        high = (high << size) | (high >> (32 - size))
        state.v1[i] = (<uint64_t> high << 32) | low
    memset(packet, 0, 32)
    memcpy(packet, rest, whole)
    if size & 16:
        for i in range(4):
            packet[28 + i] = rest[whole + i + odd - 4]
    elif odd:
        packet[16] = rest[whole]
        packet[17] = rest[whole + (odd >> 1)]
        packet[18] = rest[whole + odd - 1]
    memcpy(lanes, packet, 32)
    update(state, lanes)


cdef class Highway:
    """The hash under one key of 32 bytes. Raises ValueError for another key."""

    cdef State start

    def __init__(self, bytes key not None):
        cdef uint64_t[4] parts
        cdef int i
        if PyBytes_GET_SIZE(key) != 32:
            raise ValueError("a key has 32 bytes")
        memcpy(parts, PyBytes_AS_STRING(key), 32)
        self.start.mul0 = [0xdbe6d5d5fe4cce2fULL, 0xa4093822299f31d0ULL, 0x13198a2e03707344ULL, 0x243f6a8885a308d3ULL]
        self.start.mul1 = [0x3bd39e10cb0ef593ULL, 0xc0acf169b5f18a8cULL, 0xbe5466cf34e90c6cULL, 0x452821e638d01377ULL]
        for i in range(4):
            self.start.v0[i] = self.start.mul0[i] ^ parts[i]
            self.start.v1[i] = self.start.mul1[i] ^ half_turned(parts[i])

    def digest(self, bytes content not None):
        """Eight bytes."""
        cdef State state = self.start
        cdef const uint8_t *at = <const uint8_t *> PyBytes_AS_STRING(content)
        cdef size_t left = PyBytes_GET_SIZE(content)
        cdef uint64_t[4] lanes
        cdef uint64_t found
        cdef int i
        while left >= 32:
            memcpy(lanes, at, 32)
            update(&state, lanes)
            at += 32
            left -= 32
        if left:
            update_rest(&state, at, left)
        for i in range(4):
            lanes[0] = half_turned(state.v0[2])
            lanes[1] = half_turned(state.v0[3])
            lanes[2] = half_turned(state.v0[0])
            lanes[3] = half_turned(state.v0[1])
            update(&state, lanes)
        found = state.v0[0] + state.v1[0] + state.mul0[0] + state.mul1[0]
        return (<const char *> &found)[:8]
