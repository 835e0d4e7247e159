"""The client protocol: bytes in, events out, and messages straight into their plans.

`advance` runs until it needs more bytes or meets something that is not a message; then it returns the event's
number, so that what follows in the same bytes sees what the session made of it. No size is trusted before it is
checked, and nothing is allocated for a payload that has not arrived.
"""

from cython cimport unlikely
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove

from broker.core.message cimport Message, may_ask_for_trace
from broker.core.plan cimport Client, PUBLISHED, REPLY_REFUSED, SUBJECT_REFUSED


cdef enum Event:
    MORE = 0                    # everything was parsed that has arrived
    CONNECT = 1
    SUB = 2
    UNSUB = 3
    PING = 4
    PONG = 5
    INFO = 6
    ERR = 7
    PUBLISH_REFUSED = 8         # subject: the refused one
    REPLY_REFUSED_EVENT = 9
    NOT_OPEN = 10               # a verb before CONNECT; it is met again after the lane is opened
    UNKNOWN_OPERATION = 11      # and what follows ends the connection
    CONTROL_LINE_EXCEEDED = 12
    PAYLOAD_EXCEEDED = 13
    BAD_ARGUMENTS = 14
    TURN_SPENT = 15             # the messages of this turn went to so many that others must have theirs first
    TRACE_ASKED = 16            # a message is held, to be published by `publish_held`


# The scratch memory for a message whose control line has unusual spacing.
cdef char *scratch = NULL
cdef Py_ssize_t scratch_capacity = 0

# Without it one read of tiny messages to thousands of receivers would hold up every other tenant for seconds.
cdef size_t TURN_BUDGET = 8 << 20

cdef Py_ssize_t SMALLEST_CARRY = 64 << 10


cdef inline bint is_separator(char c) noexcept:
    return c == b" " or c == b"\t" or c == b"\r"


cdef inline bint is_space(char c) noexcept:
    return c == b" " or c == b"\t"


cdef inline Py_ssize_t number(const char *text, Py_ssize_t length) noexcept:
    """A size field: 1 to 9 decimal digits, else -1."""
    cdef Py_ssize_t value = 0, index
    if length < 1 or length > 9:
        return -1
    for index in range(length):
        if text[index] < b"0" or text[index] > b"9":
            return -1
        value = value * 10 + (text[index] - 48)
    return value


cdef bint is_publishable(const char *subject, size_t length) noexcept:
    """What a pedantic connection asks of a subject: no empty token, no wildcard token."""
    cdef size_t start = 0, index
    if length == 0:
        return False
    for index in range(length + 1):
        if index == length or subject[index] == b".":
            if index == start:
                return False
            if index - start == 1 and (subject[start] == b"*" or subject[start] == b">"):
                return False
            start = index + 1
    return True


cdef inline int published(Lane lane, Message *message) except -1:
    """Publishes a whole message; returns MORE, or the event that comes of it."""
    cdef int outcome
    if lane.verbose:
        # Refusals are answered by the session, without +OK: so the plan is asked first, and the +OK that
        # belongs before the delivery to the client itself takes its place by holding it back.
        return lane.publish_verbosely(message)
    outcome = lane.client.publish(message)
    if outcome == PUBLISHED:
        return TURN_SPENT if lane.client.spent > TURN_BUDGET else MORE
    return lane.refused(outcome, message)


cdef class ReadBuffer:
    """The one buffer that all connections of a loop read into; a connection keeps only an unfinished frame."""

    def __cinit__(self, Py_ssize_t size=256 << 10):
        if size < 64:
            raise ValueError("a read buffer needs at least 64 bytes")
        self.data = <char *> malloc(size)
        if self.data == NULL:
            raise MemoryError()
        self.size = size

    def __dealloc__(self):
        free(self.data)


cdef class Lane:
    """The read side of one connection."""

    def __cinit__(self, Client client not None, ReadBuffer shared not None):
        self.client = client
        self.shared = shared
        self.carry = NULL
        self.carried = self.carry_capacity = self.needed = self.position = self.end = 0
        self.window = shared.data
        self.verbose = self.pedantic = True
        self.maximum_payload = 1 << 20
        self.maximum_control_line = 4096

    def __dealloc__(self):
        free(self.carry)

    def room(self):
        """Where the next bytes are to be read into. Call `received` with their number before any other lane's turn."""
        cdef Py_ssize_t wanted
        cdef char *larger
        cdef Py_ssize_t frame = self.needed if self.needed > self.carried else self.carried
        if frame <= self.shared.size >> 1:
            if self.carried:
                memcpy(self.shared.data, self.carry, self.carried)
            self.window = self.shared.data
            return PyMemoryView_FromMemory(
                self.shared.data + self.carried, self.shared.size - self.carried, PyBUF_WRITE)
        # The memory for a large frame grows with what arrives, not with what was announced.
        wanted = self.carried * 2
        if wanted < SMALLEST_CARRY:
            wanted = SMALLEST_CARRY
        if self.needed > self.carried and wanted > self.needed:
            wanted = self.needed
        if wanted > self.carry_capacity:
            larger = <char *> realloc(self.carry, wanted)
            if larger == NULL:
                raise MemoryError()
            self.carry = larger
            self.carry_capacity = wanted
        self.window = self.carry
        return PyMemoryView_FromMemory(self.carry + self.carried, self.carry_capacity - self.carried, PyBUF_WRITE)

    def received(self, Py_ssize_t count):
        """Says that count bytes were read into the last `room`; `advance` is next."""
        self.position = 0
        self.end = self.carried + count
        self.carried = 0
        self.client.spent = 0
        self.held.subject = NULL

    def feed(self, bytes data not None):
        """Puts data into the room itself: returns how much of it fitted."""
        room = self.room()
        count = min(len(room), len(data))
        room[:count] = data[:count]
        self.received(count)
        return count

    def suspend(self):
        """Keeps what is not parsed yet, so that other lanes may use the shared buffer; `resume` is next."""
        self.keep_rest()

    def resume(self):
        """Takes up what `suspend` kept; `advance` is next."""
        if self.carry != NULL:
            self.window = self.carry
        self.received(0)

    @property
    def parsed(self):
        """How many bytes of what arrived last are parsed."""
        return self.position

    def ahead(self, Py_ssize_t count):
        """Up to `count` bytes that follow what is parsed."""
        return PyBytes_FromStringAndSize(self.window + self.position, min(count, self.end - self.position))

    @property
    def unfinished(self):
        """Bytes kept of a frame that has not arrived whole."""
        return self.carried

    cdef int keep_rest(self) except -1:
        """Keeps the unfinished frame at the window's end for the next read."""
        cdef Py_ssize_t rest = self.end - self.position
        cdef char *exact
        if self.window == self.carry and self.carry != NULL:
            if rest and self.position:
                memmove(self.carry, self.carry + self.position, rest)
        elif rest:
            if rest > self.carry_capacity:
                exact = <char *> realloc(self.carry, rest)
                if exact == NULL:
                    raise MemoryError()
                self.carry = exact
                self.carry_capacity = rest
            memcpy(self.carry, self.window + self.position, rest)
        if rest == 0 and self.carry != NULL:
            free(self.carry)
            self.carry = NULL
            self.carry_capacity = 0
        self.carried = rest
        self.position = self.end = 0
        self.window = self.shared.data
        return 0

    def advance(self):
        """Parses on. Returns MORE when all that arrived is parsed, else the event that needs the session."""
        cdef char *at
        cdef char *stop
        cdef char first
        cdef Py_ssize_t left
        cdef int event
        while self.position < self.end:
            at = self.window + self.position
            stop = self.window + self.end
            left = self.end - self.position
            if self.discarding:
                at = <char *> memchr(at, b"\n", left)
                if at == NULL:
                    self.position = self.end
                    break
                self.discarding = False
                self.position = at + 1 - self.window
                event = self.event_of_word(self.discarded_event)
                if event != MORE:
                    return event
                continue
            first = at[0] & <char> 0xDF
            if not self.open and first != b"C":
                return NOT_OPEN
            event = -2
            if first == b"P":
                if left == 1:
                    break
                first = at[1] & <char> 0xDF
                if first == b"U":
                    if left > 2 and at[2] & <char> 0xDF != b"B" or left > 3 and not is_space(at[3]):
                        return UNKNOWN_OPERATION
                    if left < 5:
                        break
                    event = self.message(at + 4, stop, False)
                elif first == b"I":
                    event = self.word(at, b"PING", 4, PING)
                elif first == b"O":
                    event = self.word(at, b"PONG", 4, PONG)
            elif first == b"H":
                event = self.verb(at, left, b"HPUB", 4)
                if event == 0:
                    if left > 4 and not is_space(at[4]):
                        return UNKNOWN_OPERATION
                    if left < 6:
                        break
                    event = self.message(at + 5, stop, True)
            elif first == b"S":
                event = self.verb(at, left, b"SUB", 3)
                if event == 0:
                    if left > 3 and not is_space(at[3]):
                        return UNKNOWN_OPERATION
                    event = self.control(at, 3, SUB, True)
            elif first == b"U":
                event = self.verb(at, left, b"UNSUB", 5)
                if event == 0:
                    if left > 5 and not is_space(at[5]):
                        return UNKNOWN_OPERATION
                    event = self.control(at, 5, UNSUB, True)
            elif first == b"C":
                event = self.verb(at, left, b"CONNECT", 7)
                if event == 0:
                    event = self.control(at, 7, CONNECT, False)
            elif first == b"I":
                event = self.verb(at, left, b"INFO", 4)
                if event == 0:
                    event = self.control(at, 4, INFO, False)
            elif at[0] == b"+":
                event = self.word(at, b"+OK", 3, MORE)
            elif at[0] == b"-":
                event = self.verb(at, left, b"-ERR", 4)
                if event == 0:
                    if left > 4 and not is_space(at[4]):
                        return UNKNOWN_OPERATION
                    event = self.control(at, 4, ERR, False)
            if event == -2:
                return UNKNOWN_OPERATION
            if event == -3:             # The frame is not whole yet.
                break
            if event != MORE:
                return event
        self.keep_rest()
        return MORE

    cdef int verb(self, char *at, Py_ssize_t left, const char *name, Py_ssize_t length) noexcept:
        """0: the verb stands here; -3: it may yet; -2: it does not."""
        cdef Py_ssize_t index
        cdef char c
        for index in range(length):
            if index == left:
                return -3
            c = at[index]
            if c >= b"a" and c <= b"z":
                c = c & <char> 0xDF
            if c != name[index]:
                return -2
        return 0

    cdef int word(self, char *at, const char *name, Py_ssize_t length, int event) except -100:
        """A verb whose line has no arguments; the rest of the line has no meaning."""
        cdef Py_ssize_t left = self.end - self.position
        cdef int found = self.verb(at, left, name, length)
        cdef char *newline
        if found:
            return found
        newline = <char *> memchr(at + length, b"\n", left - length)
        if newline != NULL:
            self.position = newline + 1 - self.window
        elif left > self.maximum_control_line:
            # The line is not kept: its end is looked for in what follows.
            self.position = self.end
            self.discarding = True
            self.discarded_event = event
            return MORE
        else:
            return -3
        return self.event_of_word(event)

    cdef int event_of_word(self, int event) except -1:
        """A PING after the first one is answered here, without asking the session."""
        cdef char *room
        if event == PING and self.answer_pings:
            room = self.client.reserve(6)
            if room != NULL:
                memcpy(room, b"PONG\r\n", 6)
                self.client.tail += 6
            if self.client.shown_to is not None:
                self.client.shown_to.received(b"PING")
                self.client.shown_to.sent(b"PONG")
            return MORE
        return event

    cdef int control(self, char *verb, Py_ssize_t skip, int event, bint split) except -1:
        """A verb with arguments: takes the line and returns the event, or what is wrong with it."""
        cdef char *stop = self.window + self.end
        cdef char *start = verb + skip
        cdef char *newline
        cdef char *word
        cdef Py_ssize_t length
        while start < stop and is_space(start[0]):
            start += 1
        newline = <char *> memchr(start, b"\n", stop - start) if start < stop else NULL
        if newline == NULL:
            return self.unfinished_line(verb, skip, start, stop)
        length = newline - start
        # One carriage return anywhere in the line costs the line its last byte, as in the reference.
        if length and memchr(start, b"\r", length) != NULL:
            length -= 1
        if length > self.maximum_control_line:
            return CONTROL_LINE_EXCEEDED
        self.position = newline + 1 - self.window
        stop = start + length
        self.arguments = []
        if not split:
            self.arguments.append(PyBytes_FromStringAndSize(start, length))
            return event
        while start < stop:
            if is_separator(start[0]):
                start += 1
                continue
            word = start
            while start < stop and not is_separator(start[0]):
                start += 1
            self.arguments.append(PyBytes_FromStringAndSize(word, start - word))
        return event

    cdef int unfinished_line(self, char *verb, Py_ssize_t skip, char *start, char *stop) except -1:
        """A line whose end has not arrived: refused when it is too long already, else kept without its leading blanks."""
        cdef Py_ssize_t length = stop - start
        cdef Py_ssize_t blanks = start - verb - skip
        if length > self.maximum_control_line:
            # A carriage return will cost the line one byte when it is whole.
            if length > self.maximum_control_line + 1 or memchr(start, b"\r", length) == NULL:
                return CONTROL_LINE_EXCEEDED
        if blanks > 1:
            memmove(start - 1 - skip, verb, skip)
            self.position += blanks - 1
            (start - 1)[0] = b" "
        return -3

    cdef int message(self, char *line, char *stop, bint headers) except -1:
        """PUB or HPUB whose arguments start at line: publishes it when it is whole."""
        cdef char *start = line
        cdef char *newline
        cdef char *at
        cdef char *words[5]
        cdef Py_ssize_t lengths[5]
        cdef int count = 0, expected = 4 if headers else 3
        cdef Py_ssize_t length, size, header = -1
        cdef bint regular = True
        cdef Message message
        cdef char *body
        cdef char *room
        while start < stop and is_space(start[0]):
            start += 1
        newline = <char *> memchr(start, b"\n", stop - start) if start < stop else NULL
        if newline == NULL:
            self.needed = 0
            return self.unfinished_line(line - (5 if headers else 4), 5 if headers else 4, start, stop)
        length = newline - start
        if length and (newline - 1)[0] == b"\r":
            length -= 1
        else:
            regular = False
            if length and memchr(start, b"\r", length) != NULL:
                length -= 1
        if length > self.maximum_control_line:
            return CONTROL_LINE_EXCEEDED
        at = start
        while at < start + length:
            if is_separator(at[0]):
                # Receivers get the arguments as they were sent, which needs single spaces between them.
                if at[0] != b" " or at + 1 == start + length or is_separator(at[1]):
                    regular = False
                at += 1
                continue
            if count == expected:
                return self.not_taken(BAD_ARGUMENTS, headers, start, length)
            words[count] = at
            while at < start + length and not is_separator(at[0]):
                at += 1
            lengths[count] = at - words[count]
            count += 1
        if count < expected - 1:
            return self.not_taken(BAD_ARGUMENTS, headers, start, length)
        size = number(words[count - 1], lengths[count - 1])
        if size < 0:
            return self.not_taken(BAD_ARGUMENTS, headers, start, length)
        if headers:
            if not self.accept_headers:
                return self.not_taken(BAD_ARGUMENTS, headers, start, length)
            header = number(words[count - 2], lengths[count - 2])
            if header < 0 or header > size:
                return self.not_taken(BAD_ARGUMENTS, headers, start, length)
        if size > self.maximum_payload:
            return self.not_taken(PAYLOAD_EXCEEDED, headers, start, length)
        body = newline + 1
        if stop - body < size + 2:
            if stop - body == size + 1 and body[size] != b"\r":
                return UNKNOWN_OPERATION
            self.needed = (body - (self.window + self.position)) + size + 2
            return -3
        if body[size] != b"\r" or body[size + 1] != b"\n":
            return UNKNOWN_OPERATION
        message.subject = words[0]
        message.subject_length = lengths[0]
        message.reply = NULL
        message.reply_length = 0
        if count == expected:
            message.reply = words[1]
            message.reply_length = lengths[1]
        message.body = body
        message.size = size
        message.header = header
        if regular:
            message.tail = words[1]
            message.tail_length = body + size + 2 - words[1]
        else:
            self.normalise(&message, words, lengths, count)
        if self.client.shown_to is not None:
            self.trace(start, length, &message)
        if self.pedantic and not is_publishable(words[0], lengths[0]):
            self.client.append(b"-ERR 'Invalid Publish Subject'\r\n")
            if self.client.shown_to is not None:
                self.client.shown_to.sent(b"-ERR Invalid Publish Subject")
        self.position = body + size + 2 - self.window
        self.needed = 0
        if unlikely(header > 0 and self.client.plans is not None and may_ask_for_trace(
                body, header, self.client.plans.namespace.traces_parents)):
            self.held = message
            return TRACE_ASKED
        return published(self, &message)

    @property
    def held_message(self):
        """The message that may ask for a trace: its subject, its header block, and the size of header and payload.

        Raises RuntimeError where none is held.
        """
        if self.held.subject == NULL:
            raise RuntimeError("no message is held")
        return (PyBytes_FromStringAndSize(self.held.subject, self.held.subject_length),
                PyBytes_FromStringAndSize(self.held.body, self.held.header), self.held.size)

    def publish_held(self, recorder, bint only=False):
        """Publishes the message that may ask for a trace, while `recorder` is told each step; None for nobody.

        With `only` nobody receives it. Returns an event as `advance` does. Raises RuntimeError where none is held.
        """
        cdef Message message = self.held
        if message.subject == NULL:
            raise RuntimeError("no message is held")
        self.held.subject = NULL
        self.client.recorder = recorder
        self.client.trace_only = only and recorder is not None
        try:
            return published(self, &message)
        finally:
            self.client.recorder = None
            self.client.trace_only = False

    cdef int not_taken(self, int event, bint headers, char *start, Py_ssize_t length) except -1:
        """Keeps the line of a message that ends the connection, for whoever has to say why."""
        self.line = (b"HPUB " if headers else b"PUB ") + PyBytes_FromStringAndSize(start, length)
        return event

    cdef int trace(self, char *start, Py_ssize_t length, Message *message) except -1:
        """Shows a message that came."""
        self.client.shown_to.received_message(PyBytes_FromStringAndSize(start, length), message.header,
                                            PyBytes_FromStringAndSize(message.body, message.size))
        return 0

    cdef int refused(self, int outcome, Message *message) except -1:
        if outcome == REPLY_REFUSED:
            self.subject = PyBytes_FromStringAndSize(message.reply, message.reply_length)
            return REPLY_REFUSED_EVENT
        self.subject = PyBytes_FromStringAndSize(message.subject, message.subject_length)
        return PUBLISH_REFUSED

    cdef int publish_verbosely(self, Message *message) except -1:
        """Publishes with +OK in front of what the message itself brings to this client."""
        cdef char *room = self.client.reserve(5)
        cdef Py_ssize_t mark
        cdef int outcome
        if room != NULL:
            memcpy(room, b"+OK\r\n", 5)
            self.client.tail += 5
        mark = self.client.tail
        outcome = self.client.publish(message)
        if outcome == PUBLISHED:
            if self.client.shown_to is not None:
                self.client.shown_to.sent(b"OK")
            return TURN_SPENT if self.client.spent > TURN_BUDGET else MORE
        # A refused message delivers nothing, so its +OK is still the last of what waits.
        if room != NULL and self.client.tail == mark:
            self.client.tail -= 5
        return self.refused(outcome, message)

    cdef int normalise(self, Message *message, char **words, Py_ssize_t *lengths, int count) except -1:
        """Writes arguments, header and payload of an unusually spaced message the usual way."""
        global scratch, scratch_capacity
        cdef Py_ssize_t wanted = message.size + 2 + 2
        cdef char *at
        cdef int index
        for index in range(1, count):
            wanted += lengths[index] + 1
        if wanted > scratch_capacity:
            at = <char *> realloc(scratch, wanted)
            if at == NULL:
                raise MemoryError()
            scratch = at
            scratch_capacity = wanted
        at = scratch
        for index in range(1, count):
            memcpy(at, words[index], lengths[index])
            at += lengths[index]
            at[0] = b" "
            at += 1
        memcpy(at - 1, b"\r\n", 2)
        at += 1
        memcpy(at, message.body, message.size)
        at += message.size
        memcpy(at, b"\r\n", 2)
        message.tail = scratch
        message.tail_length = at + 2 - scratch
        return 0
