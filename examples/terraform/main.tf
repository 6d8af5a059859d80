# A scale set behind a Standard Load Balancer. cloud-init installs lbhook on each VM, and from then
# on a rule that is added below opens its port on every VM within minutes: no VM is made anew.
#
#   terraform init
#   terraform apply -var resource_group=shop -var "ssh_key=$(cat ~/.ssh/id_ed25519.pub)"
#
# Checked: HashiCorp's own parser takes it, every reference leads somewhere, and its names are those
# of the provider's schema 4. Not checked: `terraform validate`, and Azure. It was never applied.

terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

provider "azurerm" {
  features {}
}

variable "resource_group" {
  type        = string
  description = "An existing resource group."
}

variable "ssh_key" {
  type        = string
  description = "The public key of the user azureuser."
}

variable "instances" {
  type    = number
  default = 2
}

# Frontend port to the port on the VMs, where nginx listens because lbhook tells it to.
variable "ports" {
  type    = map(number)
  default = { "443" = 8443 }
}

data "azurerm_resource_group" "this" {
  name = var.resource_group
}

resource "azurerm_virtual_network" "this" {
  name                = "lbhook"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location
  address_space       = ["10.1.0.0/16"]
}

resource "azurerm_subnet" "vms" {
  name                 = "vms"
  resource_group_name  = data.azurerm_resource_group.this.name
  virtual_network_name = azurerm_virtual_network.this.name
  address_prefixes     = ["10.1.0.0/24"]

  # The outbound rule below is the way out; Azure gives new networks no other.
  default_outbound_access_enabled = false
}

# The outer wall. A Standard load balancer lets nothing in without it; lbhook's firewall is the
# inner one, and follows the rules by itself. Azure's default rules let health probes in.
resource "azurerm_network_security_group" "vms" {
  name                = "lbhook-vms"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location

  security_rule {
    name                       = "from-the-load-balancer"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Allow"
    protocol                   = "Tcp"
    source_address_prefix      = "Internet"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_ranges    = values(var.ports)
  }
}

resource "azurerm_subnet_network_security_group_association" "vms" {
  subnet_id                 = azurerm_subnet.vms.id
  network_security_group_id = azurerm_network_security_group.vms.id
}

resource "azurerm_public_ip" "frontend" {
  name                = "lbhook-frontend"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location
  allocation_method   = "Static"
  sku                 = "Standard"
}

resource "azurerm_lb" "this" {
  name                = "lbhook"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location
  sku                 = "Standard"

  frontend_ip_configuration {
    name                 = "public"
    public_ip_address_id = azurerm_public_ip.frontend.id
  }
}

resource "azurerm_lb_backend_address_pool" "vms" {
  name            = "vms"
  loadbalancer_id = azurerm_lb.this.id
}

resource "azurerm_lb_probe" "port" {
  for_each        = var.ports
  name            = "tcp-${each.value}"
  loadbalancer_id = azurerm_lb.this.id
  protocol        = "Tcp"
  port            = each.value
}

resource "azurerm_lb_rule" "port" {
  for_each                       = var.ports
  name                           = "tcp-${each.key}"
  loadbalancer_id                = azurerm_lb.this.id
  frontend_ip_configuration_name = "public"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.vms.id]
  probe_id                       = azurerm_lb_probe.port[each.key].id
  protocol                       = "Tcp"
  frontend_port                  = tonumber(each.key)
  backend_port                   = each.value
  disable_outbound_snat          = true
}

# How the VMs reach the world, packages among it.
resource "azurerm_lb_outbound_rule" "world" {
  name                    = "world"
  loadbalancer_id         = azurerm_lb.this.id
  protocol                = "All"
  backend_address_pool_id = azurerm_lb_backend_address_pool.vms.id

  frontend_ip_configuration {
    name = "public"
  }
}

resource "azurerm_linux_virtual_machine_scale_set" "vms" {
  name                = "lbhook"
  resource_group_name = data.azurerm_resource_group.this.name
  location            = data.azurerm_resource_group.this.location
  sku                 = "Standard_B2s"
  instances           = var.instances
  admin_username      = "azureuser"
  custom_data         = filebase64("${path.module}/../cloud-init-fleet.yaml")

  admin_ssh_key {
    username   = "azureuser"
    public_key = var.ssh_key
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }

  os_disk {
    caching              = "ReadOnly"
    storage_account_type = "Standard_LRS"
  }

  network_interface {
    name    = "primary"
    primary = true

    ip_configuration {
      name                                   = "primary"
      primary                                = true
      subnet_id                              = azurerm_subnet.vms.id
      load_balancer_backend_address_pool_ids = [azurerm_lb_backend_address_pool.vms.id]
    }
  }

  # Before the world can be reached, cloud-init can't install.
  depends_on = [azurerm_lb_outbound_rule.world]
}

output "frontend" {
  value = azurerm_public_ip.frontend.ip_address
}
