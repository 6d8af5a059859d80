# An image with lbhook in it: Debian 12, nginx, and a configuration. Each VM that is made of it
# asks Azure for itself, before nginx starts. `packer validate` takes it; no image was built of it.
#
#   packer init packer.pkr.hcl
#   packer build -var resource_group=images -var lbhook_deb=dist/lbhook_all.deb packer.pkr.hcl

packer {
  required_plugins {
    azure = {
      source  = "github.com/hashicorp/azure"
      version = "~> 2"
    }
  }
}

variable "resource_group" {
  type = string
}

variable "lbhook_deb" {
  type = string
}

source "azure-arm" "debian" {
  use_azure_cli_auth                = true
  os_type                           = "Linux"
  image_publisher                   = "Debian"
  image_offer                       = "debian-12"
  image_sku                         = "12-gen2"
  vm_size                           = "Standard_B2s"
  build_resource_group_name         = var.resource_group
  managed_image_resource_group_name = var.resource_group
  managed_image_name                = "lbhook-debian-12"
}

build {
  sources = ["source.azure-arm.debian"]

  provisioner "file" {
    source      = var.lbhook_deb
    destination = "/tmp/lbhook.deb"
  }

  provisioner "file" {
    source      = "vm.toml"
    destination = "/tmp/vm.toml"
  }

  # The package enables its units and starts none.
  provisioner "shell" {
    execute_command = "sudo sh -e {{ .Path }}"
    inline = [
      "install -D -m 644 /tmp/vm.toml /etc/lbhook/lbhook.toml.d/vm.toml",
      "apt-get update",
      "apt-get install -y nginx-light nftables /tmp/lbhook.deb",
      "rm -f /etc/nginx/sites-enabled/default /tmp/lbhook.deb /tmp/vm.toml",
    ]
  }

  # Last of all, and harmless if it has never run: nothing of this VM stays. An image that lacks
  # this step comes up right, too, since lbhook knows its VM; but it carries the builder's rules.
  provisioner "shell" {
    execute_command = "sudo sh -e {{ .Path }}"
    inline = [
      "systemctl stop lbhook-refresh.timer",
      "lbhook clean",
      "cloud-init clean --logs",
      "waagent -force -deprovision+user && export HISTSIZE=0 && sync",
    ]
  }
}
