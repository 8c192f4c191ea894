# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title A token for development
@license Apache-2.0
@notice ERC-20 whose units anybody makes out of nothing. It is worth nothing, on any chain.
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    amount: uint256

SUPPLY_MAX: constant(uint256) = 2**128

symbol: public(String[11])
decimals: public(uint8)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(symbol: String[11], decimals: uint8):
    self.symbol = symbol
    self.decimals = decimals


@external
@view
def name() -> String[35]:
    return concat("Worthless development ", self.symbol)


@external
def mint(amount: uint256):
    """
    @notice Units for whoever asks.
    """
    assert self.totalSupply + amount <= SUPPLY_MAX, "supply"
    self.totalSupply += amount
    self.balanceOf[msg.sender] += amount
    log Transfer(sender=empty(address), receiver=msg.sender, amount=amount)


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, amount=amount)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, amount=amount)
    return True


@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    assert self.allowance[sender][msg.sender] >= amount, "allowance"
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount)
    return True
