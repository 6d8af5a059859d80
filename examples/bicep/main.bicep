// A scale set behind a Standard Load Balancer. cloud-init installs lbhook on each VM, and from then
// on a rule that is added below opens its port on every VM within minutes: no VM is made anew.
//
//   az deployment group create --resource-group shop --template-file main.bicep \
//     --parameters sshKey="$(cat ~/.ssh/id_ed25519.pub)"
//
// Checked: a parser of Bicep that is not Microsoft's (pycep) takes it, and every name that is used
// is declared. Not checked: `bicep build`, its linter, and Azure. It was never deployed.

@description('The public key of the user azureuser.')
param sshKey string

param location string = resourceGroup().location

param instances int = 2

@description('Where the load balancer listens.')
param frontendPort int = 443

@description('The port on the VMs, where nginx listens because lbhook tells it to.')
param backendPort int = 8443

// The outer wall. A Standard load balancer lets nothing in without it; lbhook's firewall is the
// inner one, and follows the rules by itself. Azure's default rules let health probes in.
resource wall 'Microsoft.Network/networkSecurityGroups@2023-11-01' = {
  name: 'lbhook-vms'
  location: location
  properties: {
    securityRules: [
      {
        name: 'from-the-load-balancer'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'Internet'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '${backendPort}'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2023-11-01' = {
  name: 'lbhook'
  location: location
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.1.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'vms'
        properties: {
          addressPrefix: '10.1.0.0/24'
          // The outbound rule below is the way out; Azure gives new networks no other.
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: wall.id
          }
        }
      }
    ]
  }
}

resource frontend 'Microsoft.Network/publicIPAddresses@2023-11-01' = {
  name: 'lbhook-frontend'
  location: location
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

var balancerName = 'lbhook'
var publicId = resourceId('Microsoft.Network/loadBalancers/frontendIPConfigurations', balancerName, 'public')
var poolId = resourceId('Microsoft.Network/loadBalancers/backendAddressPools', balancerName, 'vms')
var probeId = resourceId('Microsoft.Network/loadBalancers/probes', balancerName, 'backend')

resource balancer 'Microsoft.Network/loadBalancers@2023-11-01' = {
  name: balancerName
  location: location
  sku: {
    name: 'Standard'
  }
  properties: {
    frontendIPConfigurations: [
      {
        name: 'public'
        properties: {
          publicIPAddress: {
            id: frontend.id
          }
        }
      }
    ]
    backendAddressPools: [
      {
        name: 'vms'
      }
    ]
    probes: [
      {
        name: 'backend'
        properties: {
          protocol: 'Tcp'
          port: backendPort
        }
      }
    ]
    loadBalancingRules: [
      {
        name: 'site'
        properties: {
          frontendIPConfiguration: {
            id: publicId
          }
          backendAddressPool: {
            id: poolId
          }
          probe: {
            id: probeId
          }
          protocol: 'Tcp'
          frontendPort: frontendPort
          backendPort: backendPort
          disableOutboundSnat: true
        }
      }
    ]
    // How the VMs reach the world, packages among it.
    outboundRules: [
      {
        name: 'world'
        properties: {
          protocol: 'All'
          frontendIPConfigurations: [
            {
              id: publicId
            }
          ]
          backendAddressPool: {
            id: poolId
          }
        }
      }
    ]
  }
}

resource vms 'Microsoft.Compute/virtualMachineScaleSets@2024-03-01' = {
  name: 'lbhook'
  location: location
  sku: {
    name: 'Standard_B2s'
    capacity: instances
  }
  properties: {
    upgradePolicy: {
      mode: 'Manual'
    }
    virtualMachineProfile: {
      osProfile: {
        computerNamePrefix: 'lbhook'
        adminUsername: 'azureuser'
        customData: loadFileAsBase64('../cloud-init-fleet.yaml')
        linuxConfiguration: {
          disablePasswordAuthentication: true
          ssh: {
            publicKeys: [
              {
                path: '/home/azureuser/.ssh/authorized_keys'
                keyData: sshKey
              }
            ]
          }
        }
      }
      storageProfile: {
        imageReference: {
          publisher: 'Debian'
          offer: 'debian-12'
          sku: '12-gen2'
          version: 'latest'
        }
        osDisk: {
          createOption: 'FromImage'
          caching: 'ReadOnly'
        }
      }
      networkProfile: {
        networkInterfaceConfigurations: [
          {
            name: 'primary'
            properties: {
              primary: true
              ipConfigurations: [
                {
                  name: 'primary'
                  properties: {
                    primary: true
                    subnet: {
                      id: network.properties.subnets[0].id
                    }
                    loadBalancerBackendAddressPools: [
                      {
                        id: poolId
                      }
                    ]
                  }
                }
              ]
            }
          }
        ]
      }
    }
  }
  dependsOn: [
    balancer
  ]
}

output frontend string = frontend.properties.ipAddress
