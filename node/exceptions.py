"""The numbered errors of the node: what a person at the command line can put right.

Numbers 7000 - 7999; each is a named constant beside the code that raises it, like the numbers of
`consensus/exceptions.py`, and stable for ever.

| range       | boundary                                            |
| ----------- | --------------------------------------------------- |
| 7000 - 7099 | the command line and the installation it runs from  |
| 7100 - 7199 | recorded order flows: obtaining and reading them    |
| 7200 - 7299 | files of states: snapshots, exports, proofs         |
| 7300 - 7399 | measuring; the running node: roles, keys, RPC       |
| 7400 - 7419 | following: snapshots of peers                       |
| 7420 - 7429 | divergence                                          |
| 7430 - 7449 | fitness of the machine, telemetry                   |
| 7700 - 7799 | L1: blobs, transactions, contract, clients          |
| 7800 - 7839 | the client library: connections, answers, proofs    |
| 7840 - 7869 | wallets: keystores, amounts, what is signed         |
| 7870 - 7879 | the dev chain                                       |
| 7880 - 7899 | remote signers                                      |
"""

from typing import Final


class NodeError(Exception):
    """Something outside the rules is missing, unreadable or misused.

    `number` is stable; `facts` keeps what was seen, by name; the text says what to do about it.
    """

    def __init__(self, number: int, text: str, **facts: object) -> None:
        super().__init__(f"E{number}: {text}")
        self.number: Final = number
        self.text: Final = text
        self.facts: Final = facts
