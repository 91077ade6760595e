// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds a graph edge by edge as a vector of vectors, reverses its edges, and traverses it.

use crate::Size;
use crate::input::{random, skewed};
use crate::measure::{Outcome, timed};

const NODES: usize = 200_000;
const EDGES: usize = 3_000_000;
const WALKS: usize = 4;

/// The targets of each node's edges.
type Graph = Vec<Vec<u32>>;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let (nodes, edges) = (size.of(NODES), size.of(EDGES));
    timed(|| {
        let graph = build(nodes, edges);
        let reverse = turned(&graph);
        let mut sum: u64 = 0;
        for start in 0..WALKS.min(nodes) {
            for graph in [&graph, &reverse] {
                for (distance, level) in walk(graph, start as u32).iter().enumerate() {
                    sum = sum.wrapping_mul(31);
                    sum = sum.wrapping_add((distance * level.len()) as u64);
                }
            }
        }
        Ok(sum)
    })
}

/// Builds a graph in which a few nodes have very many edges.
fn build(nodes: usize, edges: usize) -> Graph {
    let mut random = random(5);
    let mut graph = vec![Vec::new(); nodes];
    for _ in 0..edges {
        let from = random.usize(..nodes);
        let to = skewed(&mut random, nodes);
        graph[from].push(to as u32);
    }
    for targets in &mut graph {
        targets.sort_unstable();
        targets.dedup();
        targets.shrink_to_fit();
    }
    graph
}

fn turned(graph: &Graph) -> Graph {
    let mut reverse = vec![Vec::new(); graph.len()];
    for (from, targets) in graph.iter().enumerate() {
        for &to in targets {
            reverse[to as usize].push(from as u32);
        }
    }
    reverse
}

/// Returns the reachable nodes, grouped by distance.
fn walk(graph: &Graph, start: u32) -> Vec<Vec<u32>> {
    let mut seen = vec![false; graph.len()];
    seen[start as usize] = true;
    let mut levels = vec![vec![start]];
    while let Some(last) = levels.last().filter(|level| !level.is_empty()) {
        let mut next = Vec::new();
        for &node in last {
            for &to in &graph[node as usize] {
                if !seen[to as usize] {
                    seen[to as usize] = true;
                    next.push(to);
                }
            }
        }
        levels.push(next);
    }
    levels
}
