terraform {
  required_providers {
    docker = {
      source  = "kreuzwerker/docker"
      version = "~> 3.0"
    }
  }
}

provider "docker" {}

resource "docker_volume" "db" {
  name   = "terraform-db"
  driver = "dirvol"

  # Any change here destroys the volume and makes an empty one. Change options with
  # 'dirvol set' instead, and leave what is written here as it was.
  driver_opts = {
    uid     = "1000"
    gid     = "1000"
    mode    = "0750"
    retain  = "7d"
    protect = "true"
  }

  labels {
    label = "com.example.backup"
    value = "daily"
  }

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [driver_opts]
  }
}

resource "docker_container" "db" {
  name         = "terraform-db"
  image        = "busybox"
  command      = ["sh", "-c", "echo started >> /data/log; sleep 3600"]
  init         = true
  user         = "1000:1000"
  network_mode = "none"

  mounts {
    type   = "volume"
    source = docker_volume.db.name
    target = "/data"

    volume_options {
      no_copy = true
    }
  }
}
