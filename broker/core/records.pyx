"""TLS records: ciphertext in, plaintext straight into the room it is parsed in; plaintext straight from the outbox,
ciphertext out. The handshake is none of its business: it gets a connection of the library that has one.

The library is not linked: whoever installs it hands in the addresses of its functions, whose prototypes and numbers
have been the same since OpenSSL 1.1. Ciphertext is read where the socket has put it, a record is decrypted in the
library's own buffer and copied once; the ssl module and pyOpenSSL make objects and copies of their own of each.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.limits cimport INT_MAX
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


ctypedef int (*TransferFunction)(void *, void *, int) noexcept
ctypedef int (*ErrorFunction)(const void *, int) noexcept
ctypedef void (*ClearFunction)() noexcept
ctypedef void *(*MethodFunction)() noexcept
ctypedef void *(*NewFunction)(void *) noexcept
ctypedef void *(*OverFunction)(const void *, int) noexcept
ctypedef long (*EndFunction)(void *, int) noexcept
ctypedef void (*AttachFunction)(void *, void *, void *) noexcept
ctypedef long (*DataFunction)(void *, char **) noexcept

cdef enum:
    WANT_READ = 2               # SSL_ERROR_WANT_READ
    ZERO_RETURN = 6             # SSL_ERROR_ZERO_RETURN

cdef enum:
    CAPACITY = 400 * 1024       # of an outlet: what one `seal` may come to
    RECORD = 16384              # plaintext of the largest record
    RECORD_CAPACITY = 16384 + 1024  # more than its ciphertext comes to

cdef TransferFunction ssl_read = NULL
cdef TransferFunction ssl_write = NULL
cdef TransferFunction bio_read = NULL
cdef TransferFunction bio_write = NULL
cdef ErrorFunction ssl_get_error = NULL
cdef ClearFunction err_clear_error = NULL
cdef MethodFunction bio_s_mem = NULL
cdef NewFunction bio_new = NULL
cdef OverFunction bio_new_mem_buf = NULL
cdef EndFunction bio_set_mem_eof_return = NULL
cdef AttachFunction ssl_set_bio = NULL
cdef DataFunction bio_get_mem_data = NULL


class RecordError(ConnectionError):
    """Records cannot be sealed: the stream has ended, or is broken."""


def install(functions):
    """Takes the library's functions, by name and address."""
    global ssl_read, ssl_write, bio_read, bio_write, ssl_get_error, err_clear_error
    global bio_s_mem, bio_new, bio_new_mem_buf, bio_set_mem_eof_return, ssl_set_bio, bio_get_mem_data
    ssl_read = <TransferFunction> <uintptr_t> functions["SSL_read"]
    ssl_write = <TransferFunction> <uintptr_t> functions["SSL_write"]
    bio_read = <TransferFunction> <uintptr_t> functions["BIO_read"]
    bio_write = <TransferFunction> <uintptr_t> functions["BIO_write"]
    ssl_get_error = <ErrorFunction> <uintptr_t> functions["SSL_get_error"]
    err_clear_error = <ClearFunction> <uintptr_t> functions["ERR_clear_error"]
    bio_s_mem = <MethodFunction> <uintptr_t> functions["BIO_s_mem"]
    bio_new = <NewFunction> <uintptr_t> functions["BIO_new"]
    bio_new_mem_buf = <OverFunction> <uintptr_t> functions["BIO_new_mem_buf"]
    bio_set_mem_eof_return = <EndFunction> <uintptr_t> functions["BIO_set_mem_eof_return"]
    ssl_set_bio = <AttachFunction> <uintptr_t> functions["SSL_set_bio"]
    bio_get_mem_data = <DataFunction> <uintptr_t> functions["BIO_get_mem_data"]


cdef class Outlet:
    """Where the connections of one loop, one at a time, put together the ciphertext that they are about to send."""

    def __cinit__(self):
        self.data = <char *> malloc(CAPACITY)
        if self.data == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.data)


cdef class Records:
    """The records of one connection, whose memory BIOs it owns from the beginning."""

    def __cinit__(self, connection not None, uintptr_t handle, Outlet outlet not None):
        if ssl_set_bio == NULL:
            raise RuntimeError("no library is installed")
        if handle == 0:
            raise ValueError("no connection stands there")
        self.aside = NULL
        self.outlet = outlet
        self.connection = connection
        self.handle = <void *> handle
        self.attach()

    def __dealloc__(self):
        free(self.aside)

    cdef int attach(self) except -1:
        """Makes new BIOs; the library frees those that it had."""
        cdef void *incoming = bio_new(bio_s_mem())
        cdef void *outgoing = bio_new(bio_s_mem())
        if incoming == NULL or outgoing == NULL:
            raise MemoryError()
        ssl_set_bio(self.handle, incoming, outgoing)
        self.incoming = incoming
        self.outgoing = outgoing
        self.lent = False
        self.source = None
        return 0

    cdef int put_in(self, void *incoming) except -1:
        """Reads from another BIO; the library frees the one before."""
        if incoming == NULL:
            raise MemoryError()
        ssl_set_bio(self.handle, incoming, self.outgoing)
        self.incoming = incoming
        return 0

    def feed(self, ciphertext not None, Py_ssize_t count):
        """Takes the first count bytes of a buffer, which came. Raises MemoryError.

        They are not copied, unless some that came before wait still. Whoever puts others in their place calls `keep`
        first.
        """
        cdef Py_buffer source
        cdef void *incoming
        cdef Py_ssize_t held = bio_get_mem_data(self.incoming, NULL)
        PyObject_GetBuffer(ciphertext, &source, PyBUF_SIMPLE)
        try:
            if count < 0 or count > source.len or count > INT_MAX:
                raise ValueError("the buffer does not hold so much")
            if count == 0:
                return
            if held == 0:
                incoming = bio_new_mem_buf(source.buf, <int> count)
                if incoming != NULL:
                    # When it is empty, more is to come: it is not the end.
                    bio_set_mem_eof_return(incoming, -1)
                self.put_in(incoming)
                self.lent = True
                self.source = ciphertext
                return
            self.keep()
            if bio_write(self.incoming, source.buf, <int> count) != count:
                raise MemoryError()
        finally:
            PyBuffer_Release(&source)

    def keep(self):
        """Copies what waits of a buffer that is about to hold something else. Raises MemoryError."""
        cdef char *start = NULL
        cdef long count
        cdef void *own
        if not self.lent:
            return
        count = bio_get_mem_data(self.incoming, &start)
        if count <= 0:
            return
        own = bio_new(bio_s_mem())
        if own != NULL and bio_write(own, start, <int> count) != count:
            raise MemoryError()
        self.put_in(own)
        self.lent = False
        self.source = None

    def read_into(self, room not None):
        """Opens records into room. Returns the bytes of plaintext, 0 when more ciphertext is needed or at the end.

        What came before the end, or before a record that is not valid, is read first.
        """
        cdef Py_buffer target
        cdef Py_ssize_t total = 0
        cdef int count, error
        if self.at_end:
            return 0
        PyObject_GetBuffer(room, &target, PyBUF_WRITABLE)
        try:
            err_clear_error()
            while total < target.len:
                count = ssl_read(self.handle, <char *> target.buf + total, <int> min(target.len - total, INT_MAX))
                if count <= 0:
                    error = ssl_get_error(self.handle, count)
                    if error != WANT_READ:
                        self.at_end = True
                        self.broken = error != ZERO_RETURN
                        err_clear_error()
                    break
                total += count
        finally:
            PyBuffer_Release(&target)
        return total

    def seal(self, plaintext not None):
        """Seals plaintext behind what waits already. Returns how much: less than all of very much.

        Raises RecordError, MemoryError.
        """
        cdef Py_buffer source
        cdef Py_ssize_t total = 0
        cdef int count
        cdef Outlet outlet = self.outlet
        self.take_outlet()
        PyObject_GetBuffer(plaintext, &source, PyBUF_SIMPLE)
        try:
            err_clear_error()
            while total < source.len and CAPACITY - outlet.length >= RECORD_CAPACITY:
                count = ssl_write(self.handle, <char *> source.buf + total, <int> min(source.len - total, RECORD))
                if count <= 0:
                    err_clear_error()
                    raise RecordError("the stream takes nothing more")
                total += count
                # While it is in the processor's cache, and before the library's buffer grows.
                self.draw()
        finally:
            PyBuffer_Release(&source)
        return total

    cdef int take_outlet(self) except -1:
        """Makes the outlet its own, with what waits of its own in the beginning."""
        cdef Outlet outlet = self.outlet
        if outlet.owner is self:
            return 0
        if outlet.owner is not None:
            (<Records> outlet.owner).put_aside(0)
        if self.aside != NULL:
            raise RecordError("older bytes wait")
        outlet.owner = self
        outlet.length = 0
        return self.draw()

    cdef int draw(self) except -1:
        """Moves what the library has sealed into the outlet, as far as there is room."""
        cdef Outlet outlet = self.outlet
        cdef int count
        while outlet.length < CAPACITY and bio_get_mem_data(self.outgoing, NULL) > 0:
            count = bio_read(self.outgoing, outlet.data + outlet.length, <int> (CAPACITY - outlet.length))
            if count <= 0:
                raise MemoryError()
            outlet.length += count
        return 0

    cdef int put_aside(self, Py_ssize_t count) except -1:
        """Leaves the outlet to others; what is in it behind the first count bytes waits in a buffer of its own."""
        cdef Outlet outlet = self.outlet
        cdef Py_ssize_t left = outlet.length - count
        if left > 0:
            self.aside = <char *> malloc(left)
            if self.aside == NULL:
                raise MemoryError()
            memcpy(self.aside, outlet.data + count, left)
            self.aside_start = 0
            self.aside_length = left
        outlet.length = 0
        outlet.owner = None
        return 0

    @property
    def waiting(self):
        """Bytes of ciphertext that wait to be sent."""
        cdef Py_ssize_t count = self.aside_length - self.aside_start + bio_get_mem_data(self.outgoing, NULL)
        return count + self.outlet.length if self.outlet.owner is self else count

    def sealed(self):
        """The oldest ciphertext that waits, without copying it; `sent` is next, whether or not any of it was sent."""
        if self.aside != NULL:
            return PyMemoryView_FromMemory(
                self.aside + self.aside_start, self.aside_length - self.aside_start, PyBUF_READ)
        self.take_outlet()
        return PyMemoryView_FromMemory(self.outlet.data, self.outlet.length, PyBUF_READ)

    def sent(self, Py_ssize_t count):
        """Forgets the first count bytes of what `sealed` has handed out: they are sent."""
        cdef Py_ssize_t held = 0
        if self.aside != NULL:
            held = self.aside_length - self.aside_start
        elif self.outlet.owner is self:
            held = self.outlet.length
        if count < 0 or count > held:
            raise ValueError("more bytes sent than wait")
        if self.aside != NULL:
            self.aside_start += count
            if self.aside_start == self.aside_length:
                free(self.aside)
                self.aside = NULL
                self.aside_start = self.aside_length = 0
        elif self.outlet.owner is self:
            self.put_aside(count)

    def shrink(self):
        """Gives the memory of both buffers back, as after a handshake; False where one of them holds something."""
        if bio_get_mem_data(self.incoming, NULL) or bio_get_mem_data(self.outgoing, NULL):
            return False
        self.attach()
        return True
