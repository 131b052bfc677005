"""Who waits for a model, on behalf of calls: what it gives is encoded for them."""

from serving.errors import ExpiredError
from serving.recommend.infer import Inferred, Wanted
from serving.rpc.infer_answers import InferAnswers
from serving.rpc.method import Answering, AnsweringAll


class Told:
    """See infer.Teller: encodes the answer."""

    __slots__ = ("_answering", "_answers", "_id", "_wanted", "fail")

    def __init__(self, answering: Answering, answers: InferAnswers, wanted: Wanted, ident: bytes) -> None:
        self._answering = answering
        self._answers = answers
        self._wanted = wanted
        self._id = ident
        self.fail = answering.fail

    def give(self, inferred: Inferred) -> None:
        """Encode what the model gave, and pass it on."""
        try:
            message = self._answers.encode(self._wanted, self._id, inferred)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            self.fail(error)
        else:
            self._answering.give(message)


class ToldAll:
    """See infer.Teller: of several calls."""

    __slots__ = ("_answering", "_answers", "_calls", "_wanted")

    def __init__(self, answering: AnsweringAll, answers: InferAnswers, wanted: Wanted, calls: int) -> None:
        self._answering = answering
        self._answers = answers
        self._wanted = wanted
        self._calls = calls

    def give(self, inferred: Inferred) -> None:
        """Encode what the model gave, and pass it on."""
        try:
            messages = self._answers.encode_all(self._wanted, inferred, self._calls)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            self._answering.fail(error)
        else:
            self._answering.give(messages)

    def fail(self, error: Exception) -> None:
        """Let each be asked for by itself, unless it is too late for all."""
        if isinstance(error, ExpiredError):
            self._answering.fail(error)
        else:
            self._answering.apart()  # values of one of them may be what the model does not take
