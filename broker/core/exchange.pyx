"""Services across namespaces: a request goes through a crossing, and each answer comes back through a gate of its own.

A request that wants an answer is given a reply subject under `_R_.` that nobody can guess. It stands for the asker's own in
the answering namespace, until the answer has come, took too long, or nobody waits for it any more.
"""

from cython cimport unlikely
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.string cimport memcmp

import os

from broker.core.message cimport Message, edited, reply_of
from broker.core.plan cimport Client, Gate, Namespace, PlanCache, Way
from broker.core.transform cimport Transform

cdef const char *INTRODUCTION = "Nats-Request-Info"
cdef Py_ssize_t MOST_WAITING = 1 << 18  # answers that one import waits for; beyond that the oldest is given up

cdef const char *DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
cdef Py_ssize_t NAME = 24               # random bytes for one name, which is more than any name has characters
cdef bytes random_bytes = b""
cdef Py_ssize_t random_left = 0


cdef bytes new_name(bint measured):
    """A reply subject: two tokens of six characters, and two more where the request is measured."""
    global random_bytes, random_left
    cdef char text[32]
    cdef const unsigned char *noise
    cdef int length = 26 if measured else 17, index
    if random_left < NAME:
        random_bytes = os.urandom(NAME * 512)
        random_left = PyBytes_GET_SIZE(random_bytes)
    random_left -= NAME
    noise = <const unsigned char *> PyBytes_AS_STRING(random_bytes) + random_left
    for index in range(length):
        # Of 256 values 248 fall evenly on 62 digits; what the last 8 add to some is no help to whoever guesses.
        text[index] = DIGITS[noise[index % NAME] % 62]
    text[0] = text[2] = b"_"
    text[1] = b"R"
    text[3] = text[10] = b"."
    if measured:
        text[17] = b"."
        return PyBytes_FromStringAndSize(text, 26) + b".T"
    return PyBytes_FromStringAndSize(text, 17)


cdef class Crossing(Gate):
    """A service import in force: where its requests go and how their answers come back.

    `service` is one object for all imports of an export; `link` is for whoever made the crossing. `meter`, where it is not
    None, has two methods: `begin(sender, header)` returns a measurement, or None for a request that is not measured, and
    `bad_request(sender, header)` is told of one without a reply subject. A measurement is told once what came of the
    request, by `delivered(client)`, `timed_out()`, `abandoned()` or `no_responders()`. These methods must neither publish
    nor raise; `watch`, which is called with the crossing when a deadline is there to be watched, is called at the end of the
    turn.
    """

    def __init__(self, Namespace here not None, PlanCache back not None, PlanCache there not None, Transform inward, *,
                 link, service, bint many, double threshold, meter, watch):
        Gate.__init__(self, inward)
        self.asks = True
        self.here = here
        self.back = back
        self.there = there
        self.link = link
        self.service = service
        self.many = many
        self.threshold = threshold
        self.meter = meter
        self.watch = watch

    cdef Py_ssize_t carry(self, Client sender, Message *message, bytes subject, Way *way) except -1:
        cdef Message made
        cdef Way own
        cdef Way *passed = way
        cdef Answer answer = None
        cdef bytes reply = None, tail, header = None
        cdef object measurement = None, recorder = sender.recorder
        cdef Py_ssize_t delivered
        # A request goes through each export once; what comes round again ends here.
        while passed != NULL:
            if isinstance(<object> passed.gate, Crossing) and (<Crossing> passed.gate).service is self.service:
                return 0
            passed = passed.previous
        if unlikely(recorder is not None):
            if not recorder.asked(self, PyBytes_FromStringAndSize(message.subject, message.subject_length), subject):
                if sender.trace_only:
                    return 0
                sender.recorder = None
            elif sender.trace_only:
                # Nobody will answer, and nobody is to know.
                return self.pass_on(sender, message, subject, way)
        if self.meter is not None:
            header = PyBytes_FromStringAndSize(message.body, message.header) if message.header > 0 else None
        if message.reply_length == 0:
            if self.meter is not None:
                self.meter.bad_request(sender, header)
        elif message.reply_length >= 7 and memcmp(message.reply, b"$JS.ACK", 7) == 0:
            reply = reply_of(message)
        else:
            if self.meter is not None:
                measurement = self.meter.begin(sender, header)
            answer = self.await_answer(sender, message, measurement)
            reply = answer.name
        tail = edited(message, &made, reply, INTRODUCTION, sender.introduction(self, way), False)
        made.subject = PyBytes_AS_STRING(subject)
        made.subject_length = PyBytes_GET_SIZE(subject)
        own.previous = way
        own.gate = <PyObject *> self
        own.depth = 1 if way == NULL else way.depth + 1
        delivered = sender.route(self.there, &made, &own)
        if delivered == 0 and answer is not None and not answer.done:
            self.settle(answer)
            if measurement is not None:
                measurement.no_responders()
        sender.recorder = recorder
        return delivered

    cdef Py_ssize_t pass_on(self, Client sender, Message *message, bytes subject, Way *way) except -1:
        """Takes a message to the other side that nobody will receive."""
        cdef Message made = message[0]
        cdef Way own
        made.subject = PyBytes_AS_STRING(subject)
        made.subject_length = PyBytes_GET_SIZE(subject)
        own.previous = way
        own.gate = <PyObject *> self
        own.depth = 1 if way == NULL else way.depth + 1
        return sender.route(self.there, &made, &own)

    cdef Answer await_answer(self, Client sender, Message *message, object measurement):
        return waiting_answer(self, self.here, self.back, self.there.namespace, self.there, sender, reply_of(message),
                              measurement)

    cdef int settle(self, Answer answer) except -1:
        """Takes an answer out of everything that knows it."""
        cdef list others
        if answer.done:
            return 0
        answer.done = True
        self.waiting -= 1
        if answer.previous is None:
            self.first = answer.next
        else:
            answer.previous.next = answer.next
        if answer.next is None:
            self.last = answer.previous
        else:
            answer.next.previous = answer.previous
        answer.previous = answer.next = None
        # A namespace that was closed has forgotten what it waited for.
        if answer.home.answers is not None:
            answer.home.answers.pop(answer.name, None)
        others = None if answer.asker.awaited is None else answer.asker.awaited.get(answer.reply)
        if others is not None:
            if len(others) == 1:
                del answer.asker.awaited[answer.reply]
            else:
                others.remove(answer)
        return 0

    def expire(self, double now):
        """Gives up what has waited too long at a monotonic time; returns the next deadline, or None when nothing waits."""
        cdef Answer answer
        while self.first is not None and self.first.deadline <= now:
            answer = self.first
            self.settle(answer)
            if answer.measurement is not None:
                answer.measurement.timed_out()
        return None if self.first is None else self.first.deadline

    def close(self):
        """Lets no answer through any more."""
        while self.first is not None:
            self.settle(self.first)


cdef Answer waiting_answer(Crossing crossing, Namespace asker, PlanCache asker_plans, Namespace home,
                           PlanCache home_plans, Client sender, bytes reply, object measurement):
    """An answer that is waited for in `home`, and goes to the subject `reply` of `asker`."""
    cdef Answer answer = Answer.__new__(Answer)
    answer.crossing = crossing
    answer.home = home
    answer.home_plans = home_plans
    answer.asker = asker
    answer.asker_plans = asker_plans
    answer.reply = reply
    answer.name = new_name(measurement is not None)
    answer.deadline = sender.hub.now + crossing.threshold
    answer.measurement = measurement
    if home.answers is None:
        home.answers = {}
    home.answers[answer.name] = answer
    if asker.awaited is None:
        asker.awaited = {}
    if reply in asker.awaited:
        asker.awaited[reply].append(answer)
    else:
        asker.awaited[reply] = [answer]
    answer.previous = crossing.last
    if crossing.last is None:
        crossing.first = answer
        sender.hub.deferred.append((crossing.watch, (crossing,)))
    else:
        crossing.last.next = answer
    crossing.last = answer
    crossing.waiting += 1
    if crossing.waiting > MOST_WAITING:
        answer = crossing.first
        crossing.settle(answer)
        if answer.measurement is not None:
            answer.measurement.timed_out()
        answer = crossing.last
    return answer


cdef class Answer(Gate):
    """The way back of one request."""

    cdef Py_ssize_t carry(self, Client sender, Message *message, bytes subject, Way *way) except -1:
        cdef Message made = message[0]
        cdef Way own
        cdef Answer further
        cdef bytes tail
        cdef bint empty = message.size == 0
        cdef object measurement = self.measurement, recorder = sender.recorder
        cdef Py_ssize_t delivered
        if self.done:
            return 0
        if unlikely(recorder is not None):
            # No export speaks of the way back, so a trace ends here.
            recorder.answered(self, PyBytes_FromStringAndSize(message.subject, message.subject_length))
            if sender.trace_only:
                return 0
            sender.recorder = None
        if measurement is not None:
            self.measurement = None
            measurement.delivered(sender)
        if not self.crossing.many:
            self.crossing.settle(self)
        if message.reply_length and not (message.reply_length >= 7 and memcmp(message.reply, b"$JS.ACK", 7) == 0):
            # Whoever gets the answer may answer in turn.
            further = waiting_answer(self.crossing, self.home, self.home_plans, self.asker, self.asker_plans, sender,
                                     reply_of(message), None)
            tail = edited(message, &made, further.name, INTRODUCTION, None, False)
        made.subject = PyBytes_AS_STRING(self.reply)
        made.subject_length = PyBytes_GET_SIZE(self.reply)
        own.previous = way
        own.gate = <PyObject *> self
        own.depth = 1 if way == NULL else way.depth + 1
        delivered = sender.route(self.asker_plans, &made, &own)
        if self.crossing.many and empty:
            self.crossing.settle(self)
        sender.recorder = recorder
        return delivered

    cdef int abandon(self) except -1:
        cdef object measurement = self.measurement
        if not self.done:
            self.crossing.settle(self)
            if measurement is not None:
                measurement.abandoned()
        return 0
