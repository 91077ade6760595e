// SPDX-License-Identifier: MIT OR Apache-2.0

//! Parses expressions into trees of boxes, then differentiates, simplifies and prints them.

use std::fmt;

use anyhow::{Context, bail};
use fastrand::Rng;

use crate::Size;
use crate::input::random;
use crate::measure::{Outcome, hash, timed};

const EXPRESSIONS: usize = 600;
const ROUNDS: usize = 4;
const DEPTH: u32 = 7;
const DERIVATIVES: usize = 3;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let mut random = random(4);
    let texts: Vec<String> = (0..size.of(EXPRESSIONS))
        .map(|_| Expression::random(&mut random, DEPTH).to_string())
        .collect();
    timed(|| {
        let mut sum: u64 = 0;
        for _ in 0..ROUNDS {
            // All results of a round stay alive until its end, as in a session.
            let mut session = Vec::new();
            for text in &texts {
                let mut last = Parser(text).expression()?;
                for _ in 0..DERIVATIVES {
                    let next = last.derivative().simplified();
                    sum = sum.wrapping_add(hash(next.to_string().as_bytes()));
                    session.push(last);
                    last = next;
                }
                session.push(last);
            }
        }
        Ok(sum)
    })
}

/// An expression of one variable.
#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Number(i64),
    X,
    Sum(Box<Expression>, Box<Expression>),
    Product(Box<Expression>, Box<Expression>),
    Sine(Box<Expression>),
    Cosine(Box<Expression>),
}

use Expression::{Cosine, Number, Product, Sine, Sum, X};

impl Expression {
    fn random(random: &mut Rng, depth: u32) -> Self {
        if depth == 0 {
            return match random.bool() {
                true => X,
                false => Number(random.i64(2..10)),
            };
        }
        let kind = random.u8(..6);
        let mut part = || Box::new(Self::random(random, depth - 1));
        match kind {
            0..2 => Sum(part(), part()),
            2..4 => Product(part(), part()),
            4 => Sine(part()),
            _ => Cosine(part()),
        }
    }

    fn derivative(&self) -> Self {
        match self {
            Number(_) => Number(0),
            X => Number(1),
            Sum(a, b) => sum(a.derivative(), b.derivative()),
            Product(a, b) => sum(
                product(a.derivative(), (**b).clone()),
                product((**a).clone(), b.derivative()),
            ),
            Sine(a) => product(Cosine(a.clone()), a.derivative()),
            Cosine(a) => product(Number(-1), product(Sine(a.clone()), a.derivative())),
        }
    }

    fn simplified(self) -> Self {
        match self {
            Sum(a, b) => match (a.simplified(), b.simplified()) {
                (Number(0), other) | (other, Number(0)) => other,
                (Number(a), Number(b)) => Number(a.wrapping_add(b)),
                (a, b) if a == b => product(Number(2), a),
                (a, b) => sum(a, b),
            },
            Product(a, b) => match (a.simplified(), b.simplified()) {
                (Number(0), _) | (_, Number(0)) => Number(0),
                (Number(1), other) | (other, Number(1)) => other,
                (Number(a), Number(b)) => Number(a.wrapping_mul(b)),
                (a, b) => product(a, b),
            },
            Sine(a) => Sine(Box::new(a.simplified())),
            Cosine(a) => Cosine(Box::new(a.simplified())),
            Number(_) | X => self,
        }
    }
}

fn sum(a: Expression, b: Expression) -> Expression {
    Sum(Box::new(a), Box::new(b))
}

fn product(a: Expression, b: Expression) -> Expression {
    Product(Box::new(a), Box::new(b))
}

/// Prints the format that [`Parser`] reads.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number(number) => number.fmt(f),
            X => f.write_str("x"),
            Sum(a, b) => write!(f, "({a} + {b})"),
            Product(a, b) => write!(f, "({a} * {b})"),
            Sine(a) => write!(f, "sin({a})"),
            Cosine(a) => write!(f, "cos({a})"),
        }
    }
}

/// The remaining text.
struct Parser<'a>(&'a str);

impl Parser<'_> {
    fn expression(&mut self) -> anyhow::Result<Expression> {
        if self.skip("x") {
            return Ok(X);
        }
        if self.skip("sin(") {
            let inner = Box::new(self.expression()?);
            return self.closed(Sine(inner));
        }
        if self.skip("cos(") {
            let inner = Box::new(self.expression()?);
            return self.closed(Cosine(inner));
        }
        if !self.skip("(") {
            return self.number();
        }
        let a = self.expression()?;
        if self.skip(" + ") {
            let b = self.expression()?;
            self.closed(sum(a, b))
        } else if self.skip(" * ") {
            let b = self.expression()?;
            self.closed(product(a, b))
        } else {
            bail!("no operator at {:?}", self.0)
        }
    }

    fn number(&mut self) -> anyhow::Result<Expression> {
        let end = self.0.find([' ', ')']).unwrap_or(self.0.len());
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        let number = number.parse();
        number
            .map(Number)
            .with_context(|| format!("no number before {rest:?}"))
    }

    fn closed(&mut self, expression: Expression) -> anyhow::Result<Expression> {
        match self.skip(")") {
            true => Ok(expression),
            false => bail!("no ) at {:?}", self.0),
        }
    }

    fn skip(&mut self, expected: &str) -> bool {
        let rest = self.0.strip_prefix(expected);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}
