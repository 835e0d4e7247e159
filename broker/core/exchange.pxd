# Services that one namespace offers to another: the way of a request, and the way back of its answers.

from broker.core.message cimport Message
from broker.core.plan cimport Client, Gate, Namespace, PlanCache, Way


cdef class Crossing(Gate):
    cdef readonly Namespace here        # where requests come from
    cdef readonly PlanCache there       # the plans of the namespace that answers, under no restriction
    cdef PlanCache back                 # the plans of the asking namespace, for what comes back
    cdef public object link             # what control knows the import by; never looked into
    cdef readonly object service        # the same object for all imports of one export: a request passes it once
    cdef readonly bint many             # answers may be several messages, up to an empty one
    cdef readonly double threshold      # seconds that an answer may take
    cdef readonly object meter          # asked for a measurement of each request; None where nothing is measured
    cdef readonly object watch          # called when a first request begins to wait for its answer
    cdef Answer first                   # of the waiting answers, by age
    cdef Answer last
    cdef readonly Py_ssize_t waiting

    cdef Py_ssize_t pass_on(self, Client sender, Message *message, bytes subject, Way *way) except -1
    cdef Answer await_answer(self, Client sender, Message *message, object measurement)
    cdef int settle(self, Answer answer) except -1


cdef class Answer(Gate):
    cdef Crossing crossing
    cdef Namespace home                 # the namespace in which it is known under `name`
    cdef readonly Namespace asker       # the namespace that it goes to
    cdef PlanCache asker_plans
    cdef PlanCache home_plans
    cdef bytes name                     # the reply subject that the other side answers on
    cdef bytes reply                    # the one that the asker gave
    cdef double deadline                # monotonic seconds
    cdef object measurement             # told what becomes of the request; None where it is not measured
    cdef Answer previous
    cdef Answer next
    cdef bint done
