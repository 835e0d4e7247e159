"""Rates of users and accounts: what each message costs, and how long whoever sent too much has to wait."""


cdef class Meter:
    """How much may be sent in a second; what was not used is kept for one second more.

    `messages` and `size` are a second's worth, the one in messages and the other in bytes of header and payload; 0 is
    unlimited. Clients that share a meter share its rate.
    """

    def __init__(self, double messages, double size, double now):
        self.reset(messages, size)
        self.messages = messages
        self.bytes = size
        self.since = now

    def reset(self, double messages, double size):
        """Changes the rates; what is owed stays owed."""
        self.message_rate = messages
        self.byte_rate = size

    cdef bint charge(self, size_t size, double now) noexcept:
        """Pays for one message. Returns whether more was sent by now than the rates allow."""
        cdef double seconds = now - self.since
        if seconds > 0:
            self.since = now
            self.messages = min(self.messages + seconds * self.message_rate, self.message_rate)
            self.bytes = min(self.bytes + seconds * self.byte_rate, self.byte_rate)
        self.messages -= 1
        self.bytes -= <double> size
        return (self.message_rate > 0 and self.messages < 0) or (self.byte_rate > 0 and self.bytes < 0)

    cpdef double owed(self, double now):
        """Seconds from a monotonic time until what was sent too much is paid off; 0 when nothing is owed."""
        cdef double seconds = 0
        if self.message_rate > 0 and self.messages < 0:
            seconds = -self.messages / self.message_rate
        if self.byte_rate > 0 and self.bytes < 0:
            seconds = max(seconds, -self.bytes / self.byte_rate)
        return max(seconds - (now - self.since), 0)
