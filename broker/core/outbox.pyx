"""Growing byte buffers with a ceiling, one for each connection, and the pool that lends them their memory."""

from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

import secrets

cdef int SMALLEST_POWER = 10
cdef int CLASSES = 16                 # up to 32 MiB; larger buffers come from and go to malloc
cdef Py_ssize_t POOL_LIMIT = 32 << 20


cdef class Hub:
    """What all outboxes of one server share: who has bytes to flush, and free buffers.

    One hub belongs to one event loop; nothing in it is safe to touch from another thread.
    """

    def __cinit__(self):
        self.dirty = []
        self.finished = []
        self.deferred = []
        self.random_state = secrets.randbits(63) | 1
        self.pooled = 0
        cdef int index
        for index in range(CLASSES):
            self.pool[index] = NULL

    def __dealloc__(self):
        cdef char *buffer
        cdef char *following
        cdef int index
        for index in range(CLASSES):
            buffer = self.pool[index]
            while buffer != NULL:
                following = (<char **> buffer)[0]
                free(buffer)
                buffer = following

    cdef char *take_buffer(self, Py_ssize_t *capacity) noexcept:
        """A buffer of at least *capacity bytes; *capacity becomes its true size. NULL when memory is gone."""
        cdef int power = SMALLEST_POWER
        while (<Py_ssize_t> 1 << power) < capacity[0]:
            power += 1
        capacity[0] = <Py_ssize_t> 1 << power
        cdef int index = power - SMALLEST_POWER
        cdef char *buffer
        if index < CLASSES and self.pool[index] != NULL:
            buffer = self.pool[index]
            self.pool[index] = (<char **> buffer)[0]
            self.pooled -= capacity[0]
            return buffer
        return <char *> malloc(capacity[0])

    cdef void give_buffer(self, char *buffer, Py_ssize_t capacity) noexcept:
        cdef int power = SMALLEST_POWER
        while (<Py_ssize_t> 1 << power) < capacity:
            power += 1
        cdef int index = power - SMALLEST_POWER
        if index >= CLASSES or self.pooled + capacity > POOL_LIMIT:
            free(buffer)
            return
        (<char **> buffer)[0] = self.pool[index]
        self.pool[index] = buffer
        self.pooled += capacity

    cdef uint64_t random(self) noexcept:
        """The next number of a xorshift generator: quick and even, not secret."""
        cdef uint64_t state = self.random_state
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        self.random_state = state
        return state

    def take_dirty(self):
        """The outboxes that got bytes (or overflowed) since the last call."""
        taken = self.dirty
        self.dirty = []
        return taken

    @property
    def has_dirty(self):
        return len(self.dirty) > 0

    def take_finished(self):
        """The subscriptions that reached their maximum since the last call; they receive nothing any more."""
        taken = self.finished
        if taken:
            self.finished = []
        return taken

    def take_deferred(self):
        """What the last messages left to be done at the end of the turn: pairs of a callable and its arguments."""
        taken = self.deferred
        if taken:
            self.deferred = []
        return taken


cdef class Outbox:
    """Bytes waiting to be written to one connection.

    Whoever appends past `ceiling` makes the owner a slow consumer: the outbox sets `overflowed`, takes nothing more,
    and is handed out by `Hub.take_dirty` so that the owner learns of it.
    """

    def __cinit__(self, Hub hub, *arguments, **keywords):
        self.hub = hub
        self.buffer = NULL
        self.head = self.tail = self.capacity = 0
        self.ceiling = 64 << 20
        self.soft_ceiling = 1 << 20

    def __dealloc__(self):
        if self.buffer != NULL:
            free(self.buffer)

    cdef char *reserve_slowly(self, Py_ssize_t count) except? NULL:
        cdef Py_ssize_t pending = self.tail - self.head
        cdef Py_ssize_t wanted
        cdef char *larger
        if self.closed:
            return NULL
        if not self.dirty:
            self.dirty = True
            self.hub.dirty.append(self)
        if pending + count > self.ceiling:
            self.overflowed = True
            self.closed = True
            return NULL
        if self.tail + count <= self.capacity:
            return self.buffer + self.tail
        if self.head >= self.capacity >> 1 and pending + count <= self.capacity:
            memmove(self.buffer, self.buffer + self.head, pending)
        else:
            wanted = pending + count
            if wanted < self.capacity << 1:
                wanted = self.capacity << 1
            larger = self.hub.take_buffer(&wanted)
            if larger == NULL:
                raise MemoryError()
            if self.buffer != NULL:
                memcpy(larger, self.buffer + self.head, pending)
                self.hub.give_buffer(self.buffer, self.capacity)
            self.buffer = larger
            self.capacity = wanted
        self.head = 0
        self.tail = pending
        return self.buffer + self.tail

    def append(self, bytes data not None):
        """Puts data behind what waits. Returns False when the outbox is closed or this makes it overflow."""
        cdef Py_ssize_t count = len(data)
        if count == 0:
            return not self.closed
        cdef char *room = self.reserve(count)
        if room == NULL:
            return False
        memcpy(room, <const char *> data, count)
        self.tail += count
        return True

    @property
    def pending(self):
        """Bytes that wait."""
        return self.tail - self.head

    def view(self):
        """The waiting bytes, without copying them. Valid only until the next append or consume."""
        self.dirty = False
        if self.buffer == NULL:
            return memoryview(b"")
        return PyMemoryView_FromMemory(self.buffer + self.head, self.tail - self.head, PyBUF_READ)

    def consume(self, Py_ssize_t count):
        """Forgets the first count waiting bytes: they are written. Returns the number that still waits."""
        if count < 0 or count > self.tail - self.head:
            raise ValueError("more bytes consumed than wait")
        self.head += count
        if self.head == self.tail:
            if self.buffer != NULL and not self.dirty:
                self.hub.give_buffer(self.buffer, self.capacity)
                self.buffer = NULL
                self.capacity = 0
            self.head = self.tail = 0
        return self.tail - self.head

    def settle(self):
        """Called by a flush that has nothing to write: the next append reports this outbox as dirty again."""
        self.dirty = False

    def close(self):
        """Takes nothing any more; what waits can still be written."""
        self.closed = True

    def discard(self):
        """Drops what waits and takes nothing any more."""
        self.closed = True
        if self.buffer != NULL:
            self.hub.give_buffer(self.buffer, self.capacity)
            self.buffer = NULL
        self.head = self.tail = self.capacity = 0
