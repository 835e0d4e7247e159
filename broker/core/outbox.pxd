# Where the bytes for one connection wait to be written, and the hub that all outboxes of a server share.

from libc.stdint cimport int64_t, uint64_t

cdef class Hub:
    cdef list dirty               # outboxes with bytes that no flush has seen yet
    cdef list finished            # subscriptions that reached their maximum, for control to remove
    cdef list deferred            # what is to be called at the end of the turn: pairs of a callable and its arguments
    cdef uint64_t random_state    # xorshift state for the choice of queue members
    cdef public double now        # monotonic seconds, set once for each read turn
    cdef char *pool[16]           # one chain of free buffers for each power of two from 1 KiB
    cdef Py_ssize_t pooled        # bytes held in the pool

    cdef char *take_buffer(self, Py_ssize_t *capacity) noexcept
    cdef void give_buffer(self, char *buffer, Py_ssize_t capacity) noexcept
    cdef uint64_t random(self) noexcept


cdef class Outbox:
    cdef Hub hub
    cdef char *buffer             # NULL while nothing waits: an idle connection owns no buffer
    cdef Py_ssize_t head          # first byte not yet written
    cdef Py_ssize_t tail          # end of the waiting bytes
    cdef Py_ssize_t capacity
    cdef public Py_ssize_t ceiling      # max_pending, in bytes
    cdef public Py_ssize_t soft_ceiling # above this a publisher is asked to wait
    cdef public object owner      # the connection that writes these bytes out
    cdef bint dirty               # stands in hub.dirty
    cdef readonly bint closed     # takes nothing any more
    cdef readonly bint overflowed # went over the ceiling: a slow consumer

    cdef char *reserve_slowly(self, Py_ssize_t count) except? NULL

    cdef inline char *reserve(self, Py_ssize_t count) except? NULL:
        """Room for count bytes at the tail, or NULL when the outbox is closed or would pass its ceiling."""
        if (self.dirty and not self.closed and self.tail + count <= self.capacity
                and self.tail - self.head + count <= self.ceiling):
            return self.buffer + self.tail
        return self.reserve_slowly(count)
