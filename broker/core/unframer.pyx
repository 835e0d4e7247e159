"""The read side of a WebSocket: frames in, payload bytes out, unmasked on the way (RFC 6455, section 5).

What is inside the frames is a stream to the parser behind it: where a message or a frame ends has no meaning there, so
payloads are handed out as they arrive, and nothing is kept of them. Only a control frame, and a compressed message,
which can be inflated only as a whole, are collected. No length is trusted: memory grows with what arrives.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy


cdef enum Event:
    MORE = 0                    # everything that has arrived is taken, or the room is full
    CONTROL = 1                 # opcode and body: a whole control frame
    DEFLATED = 2                # body: a whole compressed message
    VIOLATION = 3               # problem: what the frame is not allowed to be
    TOO_BIG = 4                 # a compressed message is larger than the maximum


cdef enum Opcode:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


cdef int LARGEST_CONTROL = 125


cdef class Unframer:
    """Takes the frames of one peer apart."""

    def __cinit__(self, bint masked=True, bint deflate=False):
        self.masked = masked
        self.deflate = deflate
        self.maximum = 1 << 20
        self.source = b""
        self.body = b""
        self.problem = ""
        self.gathered = NULL

    def __dealloc__(self):
        free(self.gathered)

    @property
    def left(self):
        """Bytes that have arrived and are not taken yet."""
        return len(self.source) - self.position

    @property
    def held(self):
        """Bytes that are kept until more has come: what is not taken, and of a compressed message what has arrived."""
        return len(self.source) - self.position + self.gathered_length

    def feed(self, bytes data not None):
        """Puts data behind what is not taken yet; `take` is next."""
        self.source = data if self.position == len(self.source) else self.source[self.position:] + data
        self.position = 0

    def take(self, room not None):
        """Puts payload into the room: returns how much; `event` says why it is not more."""
        cdef Py_buffer target
        PyObject_GetBuffer(room, &target, PyBUF_WRITABLE)
        cdef unsigned char *to = <unsigned char *> target.buf
        cdef Py_ssize_t size = target.len
        cdef Py_ssize_t taken = 0, count
        cdef const unsigned char *start = <const unsigned char *> PyBytes_AS_STRING(self.source)
        cdef Py_ssize_t end = len(self.source)
        try:
            self.event = MORE
            while self.event == MORE:
                if self.in_frame:
                    count = end - self.position
                    if <uint64_t> count > self.remaining:
                        count = <Py_ssize_t> self.remaining
                    if self.compressed:
                        if self.gather(start + self.position, count) < 0:
                            self.event = TOO_BIG
                            break
                    else:
                        if count > size - taken:
                            count = size - taken
                        self.unmask(start + self.position, to + taken, count)
                        taken += count
                    self.position += count
                    self.remaining -= <uint64_t> count
                    if self.remaining:
                        break
                    self.in_frame = False
                    if self.compressed and self.final:
                        self.body = PyBytes_FromStringAndSize(self.gathered, self.gathered_length)
                        free(self.gathered)
                        self.gathered = NULL
                        self.gathered_length = self.gathered_capacity = 0
                        self.event = DEFLATED
                elif self.in_control:
                    count = min(end - self.position, <Py_ssize_t> self.remaining)
                    self.unmask(start + self.position, self.small + self.small_length, count)
                    self.small_length += <int> count
                    self.position += count
                    self.remaining -= <uint64_t> count
                    if self.remaining:
                        break
                    self.finish_control()
                elif self.position == end:
                    break
                else:
                    self.header[self.header_length] = start[self.position]
                    self.header_length += 1
                    self.position += 1
                    self.begin()
        finally:
            PyBuffer_Release(&target)
        if self.position == end:
            # An idle connection keeps nothing of what it read last.
            self.source = b""
            self.position = 0
        return taken

    cdef int begin(self) except -1:
        """Looks at the header as far as it has arrived; a violation is met as early as it can be seen."""
        cdef unsigned char first = self.header[0], second
        cdef int opcode = first & 0x0F
        cdef bint is_final = (first & 0x80) != 0
        cdef bint is_compressed = (first & 0x40) != 0
        cdef int wanted = 2, index, extra
        cdef uint64_t length
        if self.header_length == 1:
            if first & 0x30:
                return self.violation("RSV2 and RSV3 must be clear")
            if is_compressed and not self.deflate:
                return self.violation("compressed frame received without negotiated permessage-deflate")
            if opcode == CONTINUATION:
                if not self.in_message or is_compressed:
                    return self.violation("invalid continuation frame")
            elif opcode == TEXT or opcode == BINARY:
                if self.in_message:
                    return self.violation(
                        "new message started before final frame for previous message was received")
            elif opcode != CLOSE and opcode != PING and opcode != PONG:
                return self.violation(f"unknown opcode {opcode}")
            return 0
        second = self.header[1]
        length = second & 0x7F
        if self.header_length == 2:
            if self.masked and not second & 0x80:
                return self.violation("mask bit missing")
            if opcode >= CLOSE:
                if length > <uint64_t> LARGEST_CONTROL:
                    return self.violation(
                        f"control frame length bigger than maximum allowed of {LARGEST_CONTROL} bytes")
                if not is_final:
                    return self.violation("control frame does not have final bit set")
                if is_compressed:
                    return self.violation("control frame must not be compressed")
        extra = 2 if length == 126 else 8 if length == 127 else 0
        wanted += extra
        self.keyed = (second & 0x80) != 0
        if self.header_length == 2 + extra and extra == 8 and self.header[2] & 0x80:
            return self.violation("invalid 64-bit payload length")
        if self.keyed:
            wanted += 4
        if self.header_length < wanted:
            return 0
        if extra:
            length = 0
            for index in range(extra):
                length = length << 8 | self.header[2 + index]
        if self.keyed:
            memcpy(self.key, self.header + 2 + extra, 4)
        self.phase = 0
        self.header_length = 0
        self.remaining = length
        if opcode >= CLOSE:
            self.in_control = True
            self.small_length = 0
            self.opcode = opcode
            if length == 0:
                self.finish_control()
            return 0
        if opcode != CONTINUATION:
            self.compressed = is_compressed
        self.final = is_final
        self.in_message = not is_final
        self.in_frame = True
        return 0

    cdef int violation(self, str problem) except -1:
        self.problem = problem
        self.event = VIOLATION
        return 0

    cdef int finish_control(self) except -1:
        self.in_control = False
        self.body = PyBytes_FromStringAndSize(<char *> self.small, self.small_length)
        self.event = CONTROL
        return 0

    cdef int gather(self, const unsigned char *start, Py_ssize_t count) except -2:
        """Keeps bytes of a compressed message; -1 when they are too many."""
        cdef Py_ssize_t wanted = self.gathered_length + count
        cdef char *larger
        if wanted > self.maximum:
            return -1
        if wanted > self.gathered_capacity:
            if wanted < self.gathered_capacity * 2:
                wanted = self.gathered_capacity * 2
            larger = <char *> realloc(self.gathered, wanted)
            if larger == NULL:
                raise MemoryError()
            self.gathered = larger
            self.gathered_capacity = wanted
        self.unmask(start, <unsigned char *> self.gathered + self.gathered_length, count)
        self.gathered_length += count
        return 0

    cdef void unmask(self, const unsigned char *start, unsigned char *to, Py_ssize_t count) noexcept:
        """Copies payload and takes the mask off, eight bytes at a time (RFC 6455, section 5.3)."""
        cdef unsigned char turned[8]
        cdef uint64_t key, word
        cdef Py_ssize_t index
        cdef int place
        if not self.keyed:
            memcpy(to, start, count)
            return
        for place in range(8):
            turned[place] = self.key[(self.phase + place) & 3]
        memcpy(&key, turned, 8)
        index = 0
        while index + 8 <= count:
            memcpy(&word, start + index, 8)
            word ^= key
            memcpy(to + index, &word, 8)
            index += 8
        while index < count:
            to[index] = start[index] ^ turned[index & 7]
            index += 1
        self.phase = (self.phase + <unsigned int> (count & 3)) & 3
