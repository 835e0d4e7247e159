"""Messages with another reply subject, or with a line in their header that only the broker writes.

A message is a few pointers into what arrived. What is changed of it is written anew, once; the message that is made
points into that.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp, memcpy, strlen


cdef inline bint same_letters(const char *text, const char *name, size_t length) noexcept:
    """Whether both are one name, whatever the case of their letters."""
    cdef size_t index
    for index in range(length):
        if (text[index] | <char> 32) != (name[index] | <char> 32):
            return False
    return True


cdef bint may_ask_for_trace(const char *header, size_t length, bint parents) noexcept:
    """A first look at a header block: whether a line begins with `Nats-Trace-Dest:` or, where `parents`, `traceparent:`.

    It costs a message with headers next to nothing; whether it is traced is decided by whoever reads the block.
    """
    cdef const char *at = header + 10       # behind NATS/1.0 and its line end
    cdef const char *stop = header + length
    if length <= 10 or header[9] != b"\n":
        return False
    while stop - at >= 16:
        if at[0] == b"N":
            if memcmp(at, b"Nats-Trace-Dest:", 16) == 0:
                return True
        elif parents and at[11] == b":" and same_letters(at, b"traceparent", 11):
            return True
        at = <const char *> memchr(at, b"\n", stop - at)
        if at == NULL:
            return False
        at += 1
    return False


cdef bytes without_lines(const char *header, size_t length, const char *name):
    """A header block without the lines of a name.

    Readers part lines at CRLF, at a bare LF or at a bare CR, and some take a name with blanks before or behind it; so a
    line is found in all these spellings.
    """
    cdef size_t width = strlen(name), at = 0, start, named, begin = 0, colon
    cdef list kept = []
    while at < length:
        start = at
        while at < length and header[at] != b"\n" and header[at] != b"\r":
            at += 1
        named = start
        while named < at and (header[named] == b" " or header[named] == b"\t"):
            named += 1
        colon = named + width
        while colon < at and (header[colon] == b" " or header[colon] == b"\t"):
            colon += 1
        if at < length and header[at] == b"\r" and at + 1 < length and header[at + 1] == b"\n":
            at += 1
        if at < length:
            at += 1
        if colon < at and header[colon] == b":" and same_letters(header + named, name, width):
            kept.append(PyBytes_FromStringAndSize(header + begin, start - begin))
            begin = at
    if begin == 0:
        return PyBytes_FromStringAndSize(header, length)
    kept.append(PyBytes_FromStringAndSize(header + begin, length - begin))
    return b"".join(kept)


cdef bytes reply_of(Message *message):
    """The reply subject, None for none."""
    return PyBytes_FromStringAndSize(message.reply, message.reply_length) if message.reply_length else None


cdef bytes introduced(Message *message, Message *made, bytes reply, bytes line):
    """As `edited`, for a message without a header block: most requests are."""
    cdef char sizes[64]
    cdef size_t width = PyBytes_GET_SIZE(line), named = 0 if reply is None else PyBytes_GET_SIZE(reply) + 1
    # A header of size 0 holds nothing.
    cdef size_t payload = message.size, header = width + 12
    cdef int digits = snprintf(sizes, 64, b"%zu %zu\r\n", header, header + payload)
    cdef bytes tail = PyBytes_FromStringAndSize(NULL, named + digits + header + payload + 2)
    cdef char *at = PyBytes_AS_STRING(tail)
    made[0] = message[0]
    made.tail = at
    made.tail_length = PyBytes_GET_SIZE(tail)
    made.reply = at
    made.reply_length = named - 1 if named else 0
    made.header = header
    made.size = header + payload
    if named:
        memcpy(at, PyBytes_AS_STRING(reply), named - 1)
        at[named - 1] = b" "
        at += named
    memcpy(at, sizes, digits)
    at += digits
    made.body = at
    memcpy(at, b"NATS/1.0\r\n", 10)
    memcpy(at + 10, PyBytes_AS_STRING(line), width)
    memcpy(at + 10 + width, b"\r\n", 2)
    at += header
    memcpy(at, message.body + message.size - payload, payload)
    memcpy(at + payload, b"\r\n", 2)
    return tail


cdef bytes edited(Message *message, Message *made, bytes reply, const char *name, bytes line, bint first):
    """Fills `made`: the message with another reply subject, and with `line` as its one header line of a name.

    `reply` and `line` may be None, for none. The line stands at the end of the block, or where `first`, before all others,
    so that no odd line of the sender hides it. What `made` points into is returned; it must outlive it.
    """
    cdef size_t count = 0 if message.header < 0 else message.header
    cdef size_t payload = message.size - count
    cdef bytes header = b""
    cdef bytes start, tail, rest
    if count == 0 and line is not None:
        return introduced(message, made, reply, line)
    if count:
        header = without_lines(message.body, count, name)
    if line is not None:
        if not header.startswith(b"NATS/1.0"):
            header = b"NATS/1.0\r\n" + header
        header = header.rstrip(b"\r\n")
        if first:
            count = 0
            while count < <size_t> PyBytes_GET_SIZE(header) and header[count] != b"\r" and header[count] != b"\n":
                count += 1
            rest = header[count:]
            rest = rest[2:] if rest.startswith(b"\r\n") else rest[1:]
            header = b"%b\r\n%b%b" % (header[:count], line, rest + b"\r\n" if rest else b"")
        else:
            header = b"%b\r\n%b" % (header, line)
        header += b"\r\n"
    made[0] = message[0]
    count = PyBytes_GET_SIZE(header)
    start = b"" if reply is None else reply + b" "
    if message.header < 0 and line is None:
        start += b"%d\r\n" % payload
    else:
        start += b"%d %d\r\n" % (count, count + payload)
        made.header = count
    tail = b"%b%b%b\r\n" % (start, header, PyBytes_FromStringAndSize(message.body + message.size - payload, payload))
    made.tail = PyBytes_AS_STRING(tail)
    made.tail_length = PyBytes_GET_SIZE(tail)
    made.reply = made.tail
    made.reply_length = 0 if reply is None else PyBytes_GET_SIZE(reply)
    made.body = made.tail + PyBytes_GET_SIZE(start)
    made.size = count + payload
    return tail
