"""Fills Keystone's database: accounts, services and endpoints.

Works on the database through Keystone's own code, as "keystone-manage
bootstrap" does, and needs no server. What is there already is left alone.

    accounts.py keystone.conf < accounts.json
"""
import json
import sys
import uuid

import keystone.conf
from keystone.cmd import bootstrap
from keystone.common import provider_api, sql

API = provider_api.ProviderAPIs
CONF = keystone.conf.CONF
INTERFACES = ("public", "internal", "admin")


def named(items, name):
    return next((x for x in items if x["name"] == name), None)


def project(name):
    have = named(API.resource_api.list_projects(), name)
    if have:
        return have["id"]
    pid = uuid.uuid4().hex
    API.resource_api.create_project(pid, {
        "id": pid, "name": name, "domain_id": "default", "enabled": True,
        "is_domain": False, "parent_id": "default", "description": ""})
    return pid


def user(name, password):
    have = named(API.identity_api.list_users(), name)
    if have:
        return have["id"]
    return API.identity_api.create_user({
        "name": name, "password": password, "enabled": True, "domain_id": "default"})["id"]


def role(name):
    have = named(API.role_api.list_roles(), name)
    if have:
        return have["id"]
    rid = uuid.uuid4().hex
    API.role_api.create_role(rid, {"id": rid, "name": name})
    return rid


def grant(account, password):
    uid, pid = user(account["user"], password), project(account["project"])
    have = API.assignment_api.get_roles_for_user_and_project(uid, pid)
    for name in account["roles"]:
        rid = role(name)
        if rid not in have:
            API.assignment_api.add_role_to_user_and_project(uid, pid, rid)


def service(name, kind, url):
    have = named(API.catalog_api.list_services(), name)
    sid = have["id"] if have else uuid.uuid4().hex
    if not have:
        API.catalog_api.create_service(sid, {"id": sid, "name": name, "type": kind, "enabled": True})
    taken = {e["interface"] for e in API.catalog_api.list_endpoints() if e["service_id"] == sid}
    for interface in INTERFACES:
        if interface not in taken:
            eid = uuid.uuid4().hex
            API.catalog_api.create_endpoint(eid, {
                "id": eid, "service_id": sid, "interface": interface,
                "region_id": "RegionOne", "url": url, "enabled": True})


def main(conf_file):
    keystone.conf.configure()
    sql.initialize()
    CONF(["--config-file", conf_file], project="keystone")
    want = json.load(sys.stdin)
    b = bootstrap.Bootstrapper()
    b.admin_username = b.project_name = b.admin_role_name = "admin"
    b.admin_password = want["password"]
    b.service_name, b.service_id = "keystone", None
    b.admin_url = b.public_url = b.internal_url = want["url"]
    b.region_id, b.immutable_roles = "RegionOne", True
    b.bootstrap()
    for account in want["accounts"]:
        grant(account, want["password"])
    for s in want["services"]:
        service(s["name"], s["type"], s["url"])


main(*sys.argv[1:])
