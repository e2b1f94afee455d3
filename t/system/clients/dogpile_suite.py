"""dogpile.cache's redis backend, with its distributed lock."""
import sys

from dogpile.cache import make_region

from dogpile_behaviours import check_region

region = make_region(key_mangler=lambda key: f"dogpile:{key}").configure(
    "dogpile.cache.redis", expiration_time=60,
    arguments={"url": f"unix://{sys.argv[1]}?db=0", "redis_expiration_time": 120, "distributed_lock": True,
               "thread_local_lock": False, "lock_timeout": 10})

check_region(region)
