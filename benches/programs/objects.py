# objects.py - what a web application's Python does: parses JSON into objects, groups and changes
# them, and writes JSON again.
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# usage: PYTHONMALLOC=malloc python3 objects.py ROUNDS
import json
import random
import sys


class Order:
    def __init__(self, number, customer, items):
        self.number = number
        self.customer = customer
        self.items = items
        self.note = f"order {number} of {customer}"

    def total(self):
        return sum(item["price"] * item["count"] for item in self.items)


def document(numbers):
    return json.dumps([
        {
            "number": number,
            "customer": f"customer-{numbers.randrange(2000)}",
            "items": [
                {"name": "article " * numbers.randrange(1, 5), "price": numbers.randrange(100, 10000),
                 "count": numbers.randrange(1, 9)}
                for _ in range(numbers.randrange(1, 8))
            ],
        }
        for number in range(4000)
    ])


def main():
    numbers = random.Random(42)
    kept = {}
    written = 0
    for _ in range(int(sys.argv[1])):
        for order in json.loads(document(numbers)):
            order = Order(order["number"], order["customer"], order["items"])
            kept.setdefault(order.customer, []).append(order)
        for customer in list(kept):
            orders = sorted(kept[customer], key=Order.total)[-8:]
            kept[customer] = orders
            written += len(json.dumps([(order.note, order.total()) for order in orders]))
    print(len(kept), written)


main()
