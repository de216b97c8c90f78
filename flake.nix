# `nix run .`, `nix profile install .`, `nix develop`. The version comes from Cargo.toml.
{
  description = "A command-line client for the Model Context Protocol";

  # mcpipe needs a newer Rust than stable channels of nixpkgs have.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      manifest = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package;
      systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEach (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = manifest.name;
          version = manifest.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # The tests need servers from registries, which a sandbox does not reach.
          doCheck = false;
          nativeBuildInputs = [ pkgs.installShellFiles ];
          postInstall = ''
            installManPage man/*
            installShellCompletion --bash --name mcpipe completions/mcpipe.bash
            installShellCompletion --fish completions/mcpipe.fish
            installShellCompletion --zsh completions/_mcpipe
          '';
          doInstallCheck = true;
          installCheckPhase = ''
            test "$($out/bin/mcpipe --version)" = "mcpipe ${manifest.version}"
          '';
          meta = {
            description = manifest.description;
            license = with pkgs.lib.licenses; [ mit asl20 ];
            mainProgram = "mcpipe";
          };
        };
      });

      devShells = forEach (pkgs: {
        default = pkgs.mkShell {
          packages = [ pkgs.cargo pkgs.rustc pkgs.clippy pkgs.rustfmt pkgs.cargo-nextest pkgs.nodejs pkgs.python3 ];
        };
      });
    };
}
