# pragma version 0.4.3
# A token for tests. `tax` is kept from each transfer; `is_silent` answers nothing, as old ones do.

balanceOf: public(HashMap[address, uint256])
tax: public(uint256)
refuses: public(bool)

@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount

@external
def set_tax(tax: uint256):
    self.tax = tax

@external
def set_refuses(refuses: bool):
    self.refuses = refuses

@external
def transfer(to: address, amount: uint256) -> bool:
    if self.refuses:
        return False
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount - self.tax
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    if self.refuses:
        return False
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount - self.tax
    return True
