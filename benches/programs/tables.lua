-- tables.lua - what a program of tables, strings and closures asks for: a tree that is built and
-- changed, strings that are joined and split, and a queue of closures.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0
--
-- usage: lua5.4 tables.lua ROUNDS
math.randomseed(42, 0)

local function insert(tree, key)
    if not tree then
        return { key = key, name = "node " .. key, count = 1 }
    end
    if key < tree.key then
        tree.left = insert(tree.left, key)
    elseif key > tree.key then
        tree.right = insert(tree.right, key)
    else
        tree.count = tree.count + 1
    end
    return tree
end

local function walk(tree, visit)
    if tree then
        walk(tree.left, visit)
        visit(tree)
        walk(tree.right, visit)
    end
end

local total = 0
for _ = 1, tonumber(arg[1]) do
    local tree
    for _ = 1, 10000 do
        tree = insert(tree, math.random(100000))
    end
    local names, tasks = {}, {}
    walk(tree, function(node)
        names[#names + 1] = node.name .. "=" .. node.count
        tasks[#tasks + 1] = function() return node.count end
    end)
    for word in table.concat(names, ","):gmatch("[^,]+") do
        total = total + #word
    end
    for _, task in ipairs(tasks) do
        total = total + task()
    end
end
print(total)
