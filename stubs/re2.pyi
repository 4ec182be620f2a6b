class error(Exception): ...

class Options:
    max_mem: int
    never_capture: bool
    log_errors: bool

class _Match: ...

class _Regexp:
    programsize: int
    def search(self, text: str | bytes) -> _Match | None: ...

def compile(pattern: str | bytes, options: Options | None = None) -> _Regexp: ...
