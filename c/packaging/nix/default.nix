# default.nix - a package for Nix, from the tree around it: nix-build c/packaging/nix
#
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# No package has been built with nixpkgs yet. c/tests/build/nix.sh evaluates this file, and builds it with
# the programs of the system.

{ pkgs ? import <nixpkgs> { } }:

let
  root = ../../..;
  # They are not sources, and would change the path of the package.
  excluded = map (name: toString root + "/" + name) [ ".git" "build" "target" ];
in
pkgs.stdenv.mkDerivation {
  pname = "hakmem";
  version = "0.1.0";
  src = builtins.path {
    name = "hakmem-source";
    path = root;
    filter = path: type: !(builtins.elem path excluded);
  };

  makeFlags = [ "PREFIX=$(out)" ];
  buildFlags = [ "libs" ];
  enableParallelBuilding = true;
  # The commands for gdb read the debug information.
  dontStrip = true;

  doCheck = true;
  checkPhase = ''
    bash c/tests/run api/
  '';

  meta = {
    description = "General-purpose memory allocator";
    license = [ pkgs.lib.licenses.mit pkgs.lib.licenses.asl20 ];
    platforms = [ "x86_64-linux" "aarch64-linux" ];
  };
}
