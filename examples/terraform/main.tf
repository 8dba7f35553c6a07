terraform {
  required_providers {
    acme = {
      source  = "vancluever/acme"
      version = "~> 2.21"
    }
  }
}

provider "acme" {
  server_url = "https://gate.example.com:8443/acme/default/directory"
}

variable "eab_kid" {
  type = string
}

variable "eab_hmac_key" {
  type      = string
  sensitive = true
}

resource "acme_registration" "certgate" {
  email_address = "admin@example.com"

  external_account_binding {
    key_id      = var.eab_kid
    hmac_base64 = var.eab_hmac_key
  }
}

resource "acme_certificate" "www" {
  account_key_pem    = acme_registration.certgate.account_key_pem
  common_name        = "www.example.com"
  key_type           = "P256"
  min_days_remaining = 30

  dns_challenge {
    provider = "rfc2136"
  }
}

output "fullchain" {
  value = "${acme_certificate.www.certificate_pem}${acme_certificate.www.issuer_pem}"
}

output "private_key" {
  value     = acme_certificate.www.private_key_pem
  sensitive = true
}
