"""TLS records: ciphertext in, plaintext straight into the room it is parsed in; plaintext straight from the outbox,
ciphertext out. The handshake is none of its business: it gets a connection of the library that has one.

The library is not linked: whoever installs it hands in the addresses of its functions, whose prototypes and numbers
have been the same since OpenSSL 1.1. A record is decrypted in the library's own buffer and copied once; the ssl module
and pyOpenSSL make objects and copies of their own of each.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.limits cimport INT_MAX
from libc.stdint cimport uintptr_t


ctypedef int (*TransferFunction)(void *, void *, int) noexcept
ctypedef int (*ErrorFunction)(const void *, int) noexcept
ctypedef void (*ClearFunction)() noexcept
ctypedef void *(*MethodFunction)() noexcept
ctypedef void *(*NewFunction)(void *) noexcept
ctypedef void (*AttachFunction)(void *, void *, void *) noexcept
ctypedef long (*DataFunction)(void *, char **) noexcept

cdef enum:
    WANT_READ = 2               # SSL_ERROR_WANT_READ
    ZERO_RETURN = 6             # SSL_ERROR_ZERO_RETURN

cdef Py_ssize_t SCRATCH = 16384

cdef TransferFunction ssl_read = NULL
cdef TransferFunction ssl_write = NULL
cdef TransferFunction bio_read = NULL
cdef TransferFunction bio_write = NULL
cdef ErrorFunction ssl_get_error = NULL
cdef ClearFunction err_clear_error = NULL
cdef MethodFunction bio_s_mem = NULL
cdef NewFunction bio_new = NULL
cdef AttachFunction ssl_set_bio = NULL
cdef DataFunction bio_get_mem_data = NULL
cdef char scratch[16384]


class RecordError(ConnectionError):
    """Records cannot be sealed: the stream has ended, or is broken."""


def install(functions):
    """Takes the library's functions, by name and address."""
    global ssl_read, ssl_write, bio_read, bio_write, ssl_get_error, err_clear_error
    global bio_s_mem, bio_new, ssl_set_bio, bio_get_mem_data
    ssl_read = <TransferFunction> <uintptr_t> functions["SSL_read"]
    ssl_write = <TransferFunction> <uintptr_t> functions["SSL_write"]
    bio_read = <TransferFunction> <uintptr_t> functions["BIO_read"]
    bio_write = <TransferFunction> <uintptr_t> functions["BIO_write"]
    ssl_get_error = <ErrorFunction> <uintptr_t> functions["SSL_get_error"]
    err_clear_error = <ClearFunction> <uintptr_t> functions["ERR_clear_error"]
    bio_s_mem = <MethodFunction> <uintptr_t> functions["BIO_s_mem"]
    bio_new = <NewFunction> <uintptr_t> functions["BIO_new"]
    ssl_set_bio = <AttachFunction> <uintptr_t> functions["SSL_set_bio"]
    bio_get_mem_data = <DataFunction> <uintptr_t> functions["BIO_get_mem_data"]


cdef class Records:
    """The records of one connection, whose memory BIOs it owns from the beginning."""

    def __cinit__(self, connection not None, uintptr_t handle):
        if ssl_set_bio == NULL:
            raise RuntimeError("no library is installed")
        if handle == 0:
            raise ValueError("no connection stands there")
        self.connection = connection
        self.handle = <void *> handle
        self.attach()

    cdef int attach(self) except -1:
        """Makes new BIOs; the library frees those that it had."""
        cdef void *incoming = bio_new(bio_s_mem())
        cdef void *outgoing = bio_new(bio_s_mem())
        if incoming == NULL or outgoing == NULL:
            raise MemoryError()
        ssl_set_bio(self.handle, incoming, outgoing)
        self.incoming = incoming
        self.outgoing = outgoing
        self.largest = 0
        return 0

    def feed(self, ciphertext not None):
        """Takes ciphertext that came. Raises MemoryError."""
        cdef Py_buffer source
        cdef Py_ssize_t held
        PyObject_GetBuffer(ciphertext, &source, PyBUF_SIMPLE)
        try:
            if source.len > INT_MAX:
                raise ValueError("too much at once")
            if source.len and bio_write(self.incoming, source.buf, <int> source.len) != source.len:
                raise MemoryError()
        finally:
            PyBuffer_Release(&source)
        held = bio_get_mem_data(self.incoming, NULL)
        if held > self.largest:
            self.largest = held

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
        """Seals all of it behind what waits already. Raises RecordError, MemoryError."""
        cdef Py_buffer source
        cdef Py_ssize_t total = 0, held
        cdef int count
        PyObject_GetBuffer(plaintext, &source, PyBUF_SIMPLE)
        try:
            err_clear_error()
            while total < source.len:
                count = ssl_write(self.handle, <char *> source.buf + total, <int> min(source.len - total, INT_MAX))
                if count <= 0:
                    err_clear_error()
                    raise RecordError("the stream takes nothing more")
                total += count
        finally:
            PyBuffer_Release(&source)
        held = bio_get_mem_data(self.outgoing, NULL)
        if held > self.largest:
            self.largest = held

    @property
    def waiting(self):
        """Bytes of ciphertext that wait to be sent."""
        return bio_get_mem_data(self.outgoing, NULL)

    def sealed(self):
        """The ciphertext that waits, without copying it. Valid only until the next call of anything here."""
        cdef char *start = NULL
        cdef long count = bio_get_mem_data(self.outgoing, &start)
        return PyMemoryView_FromMemory(start, count, PyBUF_READ) if count > 0 else memoryview(b"")

    def sent(self, Py_ssize_t count):
        """Forgets the first count bytes of what waits: they are sent."""
        cdef int taken
        if count < 0 or count > bio_get_mem_data(self.outgoing, NULL):
            raise ValueError("more bytes sent than wait")
        while count:
            taken = bio_read(self.outgoing, scratch, <int> min(count, SCRATCH))
            if taken <= 0:
                raise MemoryError()
            count -= taken

    def shrink(self):
        """Gives the memory of both buffers back; False where one of them holds something."""
        if bio_get_mem_data(self.incoming, NULL) or bio_get_mem_data(self.outgoing, NULL):
            return False
        self.attach()
        return True
